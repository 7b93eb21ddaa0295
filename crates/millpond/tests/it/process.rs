//! A machine of its own for each test, and the programs that run on it.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

/// A home folder and nothing else.
pub struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let built = || env!("CARGO_BIN_EXE_millpond").into();
        let mut command = Command::new(std::env::var_os("MILLPOND_BIN").unwrap_or_else(built));
        command.args(line.split_whitespace()).env_clear().env("HOME", self.folder.path());
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, line: &str) -> Output {
        self.run_with(line, &[])
    }

    /// The same with variables.
    pub fn run_with(&self, line: &str, variables: &[(&str, &str)]) -> Output {
        self.command(line).envs(variables.iter().copied()).output().expect("the binary starts")
    }

    /// Runs a command that must succeed, and returns its stdout.
    pub fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "millpond {line}: {out}{err}");
        out.into_owned()
    }

    /// Runs a command that must fail, and returns its stderr.
    pub fn fails(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(1), "millpond {line}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Starts a server on a free port and waits until it says where.
    pub fn start(&self, line: &str, variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(&format!("{line} --listen 127.0.0.1:0"));
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            assert_ne!(stderr.read_line(&mut said).expect("UTF-8"), 0, "the server ended: {said}");
            let line = &said[from..];
            let marks = ["is up at http://", "\"address\":\""];
            if let Some(rest) = marks.iter().find_map(|mark| Some(line.split_once(mark)?.1)) {
                break rest.split(['"', '\n']).next().expect("a part").to_owned();
            }
        };
        Running { child, stderr, said, address }
    }
}

/// A running server, killed when dropped.
pub struct Running {
    child: Child,
    stderr: BufReader<ChildStderr>,
    said: String,
    pub address: String,
}

impl Running {
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).expect("connects")
    }

    /// Status line, headers and body of the answer to one request.
    pub fn get(&self, path: &str, headers: &str) -> String {
        self.try_get(path, headers).expect("an answer")
    }

    /// The same of a server that may have no time.
    pub fn try_get(&self, path: &str, headers: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n{headers}Connection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")).expect("a pid");
        kill_process(pid, signal).expect("signalled");
    }

    /// Waits for the end; returns how it ended and all that was said.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let mut said = std::mem::take(&mut self.said);
        self.stderr.read_to_string(&mut said).expect("UTF-8");
        (self.child.wait().expect("ended"), said)
    }

    /// Stops it in order.
    pub fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, said) = self.wait();
        assert!(status.success(), "{said}");
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone after `wait`.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// All files below a folder with their contents.
pub fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            found.push((path, bytes));
        }
    }
    found
}
