//! One process, measured. Peak memory is known per set of awaited children only, so every
//! measured process gets a parent of its own: this program again, as `measure`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};

use crate::Failure;

/// What one run of a program cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Seconds from start to end.
    pub wall: f64,
    /// Processor seconds, user and system.
    pub cpu: f64,
    /// Peak resident memory in KiB.
    pub peak: f64,
}

/// The inner half: runs the command and says what it cost.
pub(crate) fn child(words: &[String]) -> Result<Value, Failure> {
    let words = words.strip_prefix(&["--".to_owned()]).unwrap_or(words);
    let (program, arguments) = words.split_first().ok_or("measure what? give a command")?;
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
    Ok(json!({
        "wall": wall,
        "cpu": seconds(usage.user_time()) + seconds(usage.system_time()),
        "peak": usage.max_rss(),
    }))
}

/// Runs a command under a parent of its own.
pub(crate) fn measure(command: &[String]) -> Result<Cost, Failure> {
    measure_in(command, Path::new("."))
}

/// As [`measure`], in a folder.
pub(crate) fn measure_in(command: &[String], folder: &Path) -> Result<Cost, Failure> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own)
        .args(["measure", "--"])
        .args(command)
        .current_dir(folder)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let figures: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
    let number = |name: &str| figures[name].as_f64().unwrap_or(f64::NAN);
    Ok(Cost {
        wall: number("wall"),
        cpu: number("cpu"),
        peak: number("peak"),
    })
}

/// The middle value.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Medians of several costs.
pub(crate) fn medians(costs: &[Cost]) -> Cost {
    let of = |pick: fn(&Cost) -> f64| median(costs.iter().map(pick).collect());
    Cost {
        wall: of(|cost| cost.wall),
        cpu: of(|cost| cost.cpu),
        peak: of(|cost| cost.peak),
    }
}

impl Cost {
    /// As figures.
    pub(crate) fn json(self) -> Value {
        let rounded = |value: f64, places: f64| (value * places).round() / places;
        json!({
            "wall_ms": rounded(self.wall * 1e3, 100.0),
            "cpu_ms": rounded(self.cpu * 1e3, 100.0),
            "peak_kib": self.peak,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_three_is_the_second() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
    }
}
