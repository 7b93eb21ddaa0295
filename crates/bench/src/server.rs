//! The server under test as a process: start, wait for the first answer, what it used, stop, kill.

use crate::sigv4::Keys;
use crate::site::Site;
use crate::wire::Connection;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take from its start to its first answer.
const START_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to stop when asked to.
const STOP_MAX: Duration = Duration::from_secs(60);

/// What is needed to start a server again on the same data.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The `millpond` program.
    pub binary: PathBuf,
    /// Everything of this run: `data`, the server's home, its log.
    pub folder: PathBuf,
    /// The folder that the server may import from.
    pub sources: PathBuf,
    /// The first administrator.
    pub keys: Keys,
    /// Who sends the requests: the administrator, until somebody else is made.
    pub caller: Keys,
    /// A command that runs the program it is followed by, as the same process; usually empty.
    pub wrapper: Vec<String>,
}

/// A wrapper that changes what system calls of the server return, as `strace --inject=CALLS:WHAT` does. The tracer
/// detaches itself, so the child process is the server.
pub fn injecting(calls: &str, what: &str) -> Vec<String> {
    let trace = format!("--trace={calls}");
    let inject = format!("--inject={calls}:{what}");
    ["strace", "--daemonize", "--follow-forks", "--seccomp-bpf", "--output=/dev/null", &trace, &inject, "--"]
        .map(str::to_owned)
        .to_vec()
}

/// What [`Server::inject`] started. Dropping it lets the server go.
#[derive(Debug)]
pub struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended with the server; there is nobody to tell about another failure.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Setup {
    /// The program is `MILLPOND_BIN`, or `target/release/millpond`.
    pub fn new(folder: &Path) -> Result<Self> {
        let binary =
            std::env::var_os("MILLPOND_BIN").map_or_else(|| "target/release/millpond".into(), PathBuf::from);
        let binary = binary
            .canonicalize()
            .with_context(|| format!("no server at {}: build it, or set MILLPOND_BIN", binary.display()))?;
        Self::of(binary, folder)
    }

    /// With this program.
    pub fn of(binary: PathBuf, folder: &Path) -> Result<Self> {
        let keys = Keys {
            id: "AKIAMILLPONDBENCH001".into(),
            secret: "bench/only+0000000000000000000000000000".into(),
        };
        let folder = folder.canonicalize().with_context(|| format!("no folder {}", folder.display()))?;
        let sources = folder.join("sources");
        std::fs::create_dir_all(&sources).context("make the folder to import from")?;
        let caller = keys.clone();
        Ok(Self { binary, folder, sources, keys, caller, wrapper: Vec::new() })
    }
    /// Another server with data of its own, in a new folder below; it imports from the same place.
    pub fn beside(&self, name: &str) -> Result<Self> {
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        Ok(Self { folder, caller: self.keys.clone(), ..self.clone() })
    }
    /// The server's data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }
    /// Where the server's output goes.
    pub fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// How to talk to it.
    pub site: Site,
    /// From the start of the process to its first answer to a request with keys.
    pub first_answer: Duration,
}

impl Server {
    /// Starts the process on a free port of the loopback interface and does not wait for it.
    pub fn spawn(setup: &Setup) -> Result<Self> {
        let address = free_address()?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(setup.log())
            .context("open the server's log")?;
        let mut command = match setup.wrapper.split_first() {
            None => Command::new(&setup.binary),
            Some((wrapper, arguments)) => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(&setup.binary);
                command
            }
        };
        let child = command
            .arg("serve")
            .env("MILLPOND_LISTEN", address.to_string())
            .env("MILLPOND_DATA", setup.data())
            .env("MILLPOND_ADMIN_ACCESS_KEY_ID", &setup.keys.id)
            .env("MILLPOND_ADMIN_SECRET_ACCESS_KEY", &setup.keys.secret)
            .env("MILLPOND_LOCAL_IMPORT", &setup.sources)
            .env("HOME", &setup.folder)
            .env("XDG_CONFIG_HOME", setup.folder.join("config"))
            .current_dir(&setup.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", setup.binary.display()))?;
        let site = Site::new(address, setup.caller.clone());
        Ok(Self { child, site, first_answer: Duration::ZERO })
    }

    /// Starts the server and waits until it answers `GET /api/v1{target}` with the expected status.
    pub async fn start(setup: &Setup, target: &str, status: u16) -> Result<Self> {
        let started = Instant::now();
        let mut server = Self::spawn(setup)?;
        let (address, request) = (server.site.address, server.site.api("GET", target, None));
        loop {
            match Connection::new(address).exchange(&request).await {
                Ok(answer) if answer.status == status => break,
                Ok(answer) if started.elapsed() > START_MAX => {
                    bail!("{target} answers {} instead of {status}: {}", answer.status, answer.excerpt());
                }
                Err(error) if started.elapsed() > START_MAX => {
                    return Err(error.context(format!("no answer within {START_MAX:?}")));
                }
                _ => {}
            }
            if let Some(status) = server.ended()? {
                bail!("the server ended with {status}; see {}", setup.log().display());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.first_answer = started.elapsed();
        Ok(server)
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether, and how, the process ended.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// From now on system calls of the running server return what `strace --inject=CALLS:WHAT` says. Returns when
    /// every thread is traced.
    pub async fn inject(&self, calls: &str, what: &str) -> Result<Tracer> {
        let id = self.id().to_string();
        let (trace, inject) = (format!("--trace={calls}"), format!("--inject={calls}:{what}"));
        let tracer = Command::new("strace")
            .args(["--follow-forks", "--output=/dev/null", &trace, &inject, "--attach", &id])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start strace")?;
        let tracer = Tracer(tracer);
        let asked = Instant::now();
        while !is_traced(&id)? {
            anyhow::ensure!(asked.elapsed() < STOP_MAX, "strace does not attach");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(tracer)
    }

    /// SIGKILL; returns when the process is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("signal the server")
    }

    /// SIGTERM; returns when the process has ended by itself.
    pub async fn stop(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while self.ended()?.is_none() {
            if asked.elapsed() > STOP_MAX {
                bail!("the server did not stop within {STOP_MAX:?} of SIGTERM");
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// What the process has used so far.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(&self.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The process may be gone already; there is nobody to tell about another failure.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether every thread of the process has a tracer.
fn is_traced(id: &str) -> Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        let status = std::fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
        if status.contains("TracerPid:\t0\n") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").context("find a free port")?.local_addr()?)
}

/// What a process has used since its start, as `/proc` counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, all threads, to 10 ms.
    pub cpu: Duration,
    /// Bytes it caused to be written to storage.
    pub written_bytes: u64,
    /// Resident memory now.
    pub resident_bytes: u64,
}

impl Usage {
    /// Of the process `id`, or of this one (`self`).
    pub fn of(id: &str) -> Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("/proc/<pid>/stat")?;
        // The second field is the program's name in parentheses and may hold anything.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |number: usize| -> Result<u64> {
            fields.get(number - 3).and_then(|text| text.parse().ok()).context("/proc/<pid>/stat is short")
        };
        let ticks = field(14)? + field(15)?;
        let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        let io = std::fs::read_to_string(format!("/proc/{id}/io")).unwrap_or_default();
        let written_bytes = io
            .lines()
            .find_map(|line| line.strip_prefix("write_bytes: "))
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let resident_bytes = field(24)? * rustix::param::page_size() as u64;
        Ok(Self { cpu, written_bytes, resident_bytes })
    }
}
