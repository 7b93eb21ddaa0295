//! Questions to the person at the terminal: on stderr, answered on stdin, secrets without echo.

use crate::failure::Failure;
use rustix::stdio::stdin;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, Write};

/// Asks and waits for a line. Runs beside the runtime, so that Ctrl-C still works.
///
/// # Errors
/// The terminal went away.
pub async fn ask(question: String) -> Result<String, Failure> {
    in_background(move || read_answer(&question)).await
}

/// The same without showing what is typed.
///
/// # Errors
/// The terminal went away.
pub async fn ask_secret(question: String) -> Result<String, Failure> {
    // Held here and not in the background: Ctrl-C drops this future, and the echo must come back then too.
    let silence = Silence::begin().map_err(|e| Failure::local("turn off the echo", &e))?;
    let answer = in_background(move || {
        let answer = read_answer(&question);
        // The typed newline was not shown either.
        writeln!(io::stderr())?;
        answer
    })
    .await;
    drop(silence);
    answer
}

/// Keeps what is typed from being shown for as long as it lives.
struct Silence(Termios);

impl Silence {
    fn begin() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin(), OptionalActions::Flush, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // A terminal that went away has no echo to restore.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Reads one line of stdin, whatever stdin is.
///
/// # Errors
/// It cannot be read, or holds nothing.
pub async fn read_line() -> Result<String, Failure> {
    in_background(|| read_answer("")).await
}

/// Reads all of stdin.
///
/// # Errors
/// It cannot be read, or is no text.
pub async fn read_all() -> Result<String, Failure> {
    in_background(|| io::read_to_string(io::stdin().lock())).await
}

fn read_answer(question: &str) -> io::Result<String> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(question.as_bytes())?;
    stderr.flush()?;
    drop(stderr);
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the input ended"));
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

async fn in_background(
    work: impl FnOnce() -> io::Result<String> + Send + 'static,
) -> Result<String, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(io::Error::other(e)))
        .map_err(|e| Failure::local("read the answer", &e))
}
