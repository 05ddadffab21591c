//! The parent of one measured process. The system counts towards a program's peak what its parent held when it started it:
//! memory that is the parent's until the program takes its place. So the parent has to be small, and this one does nothing else.

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match measured(&words) {
        Ok(figures) => match writeln!(std::io::stdout(), "{figures}") {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Err(problem) => {
            // There is nowhere left to say that this failed.
            let _ = writeln!(std::io::stderr(), "{problem}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command and says what it cost, as JSON.
fn measured(words: &[String]) -> Result<String, String> {
    let (program, arguments) = words
        .split_first()
        .ok_or("fluvial-measure COMMAND…: which command?")?;
    let start = Instant::now();
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let wall = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "{program} failed: {}",
            text.lines().next().unwrap_or_default()
        ));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let cpu = seconds(usage.user_time()) + seconds(usage.system_time());
    Ok(format!(
        r#"{{"wall": {wall}, "cpu": {cpu}, "peak": {}}}"#,
        usage.max_rss()
    ))
}
