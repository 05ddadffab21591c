//! One process, measured. Peak memory is known per set of awaited children only, so every
//! measured process gets a parent of its own, and a small one: `fluvial-measure`, which lies beside this program.

use std::path::Path;
use std::process::Command;

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

/// Runs a command under a parent of its own.
pub(crate) fn measure(command: &[String]) -> Result<Cost, Failure> {
    measure_in(command, Path::new("."))
}

/// As [`measure`], in a folder.
pub(crate) fn measure_in(command: &[String], folder: &Path) -> Result<Cost, Failure> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let parent = own.with_file_name("fluvial-measure");
    let output = Command::new(&parent)
        .args(command)
        .current_dir(folder)
        .output()
        .map_err(|error| format!("{}, which is built with this program: {error}", parent.display()))?;
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
