//! The rows of a run, as a table for people and as JSON for programs; and what they are compared with.

use crate::load::Measured;
use crate::machine::Machine;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One scenario's figures.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scenario, as `--only` takes it.
    pub name: &'static str,
    /// What was done, for the reader.
    pub what: String,
    /// What is counted: `ops`, `MB`, `keys`.
    pub unit: &'static str,
    /// How many units an operation is.
    pub units_per_operation: f64,
    /// The figures.
    pub measured: Measured,
}

/// A single figure that is not a load: bytes an object, memory, a time.
#[derive(Clone, Debug)]
pub struct Fact {
    /// The scenario.
    pub name: &'static str,
    /// What it says.
    pub what: String,
    /// Its value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

/// What is measured against a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    PerCpuSecond,
    PerSecond,
    MedianMs,
    Failures,
    Value,
}

/// A line of design.md section 7.
struct Mark {
    name: &'static str,
    lakefs: &'static str,
    target: &'static str,
    /// Each figure with its bound; rates have a least value, everything else a greatest.
    bounds: &'static [(Figure, f64)],
}

use Figure::{Failures, MedianMs, PerCpuSecond, PerSecond, Value as Single};

#[rustfmt::skip]
const MARKS: &[Mark] = &[
    Mark { name: "stat-64", lakefs: "2,815/CPU-s, p50 23 ms", target: ">= 30,000/CPU-s, p50 < 3 ms", bounds: &[(PerCpuSecond, 30_000.0), (MedianMs, 3.0)] },
    Mark { name: "stage-64", lakefs: "4,730/CPU-s, 3,868/s", target: ">= 30,000/CPU-s, >= 20,000/s", bounds: &[(PerCpuSecond, 30_000.0), (PerSecond, 20_000.0)] },
    Mark { name: "stage-1", lakefs: "8.1 ms", target: "<= 1.5 ms", bounds: &[(MedianMs, 1.5)] },
    Mark { name: "put-4k-64", lakefs: "3,405/CPU-s (not synced)", target: ">= 10,000/CPU-s", bounds: &[(PerCpuSecond, 10_000.0)] },
    Mark { name: "put-4k-1", lakefs: "11.4 ms (not synced)", target: "<= 2 ms", bounds: &[(MedianMs, 2.0)] },
    Mark { name: "get-4k-64", lakefs: "3,845/CPU-s", target: ">= 20,000/CPU-s", bounds: &[(PerCpuSecond, 20_000.0)] },
    Mark { name: "put-64m-unsigned", lakefs: "253 MB/CPU-s", target: ">= 300 MB/CPU-s", bounds: &[(PerCpuSecond, 300.0)] },
    Mark { name: "put-64m-signed", lakefs: "253 MB/CPU-s", target: ">= 280 MB/CPU-s", bounds: &[(PerCpuSecond, 280.0)] },
    Mark { name: "put-64m-chunks", lakefs: "253 MB/CPU-s", target: ">= 240 MB/CPU-s", bounds: &[(PerCpuSecond, 240.0)] },
    Mark { name: "get-64m", lakefs: "1,347 MB/CPU-s", target: ">= 1,500 MB/CPU-s", bounds: &[(PerCpuSecond, 1_500.0)] },
    Mark { name: "commit-1", lakefs: "243 ms", target: "<= 5 ms", bounds: &[(MedianMs, 5.0)] },
    Mark { name: "commit-100", lakefs: "2,417 ms", target: "<= 20 ms", bounds: &[(MedianMs, 20.0)] },
    Mark { name: "commit-1000", lakefs: "2,503 ms", target: "<= 100 ms", bounds: &[(MedianMs, 100.0)] },
    Mark { name: "diff-1", lakefs: "275 ms", target: "<= 5 ms", bounds: &[(MedianMs, 5.0)] },
    Mark { name: "diff-100", lakefs: "1,555 ms", target: "<= 20 ms", bounds: &[(MedianMs, 20.0)] },
    Mark { name: "diff-1000", lakefs: "2,000 ms", target: "<= 80 ms", bounds: &[(MedianMs, 80.0)] },
    Mark { name: "merge-rounds-64", lakefs: "0.44/s, 17 of 200 failed", target: ">= 200/s, none fails", bounds: &[(PerSecond, 200.0), (Failures, 0.0)] },
    Mark { name: "branch-64", lakefs: "4,286/CPU-s", target: ">= 15,000/CPU-s", bounds: &[(PerCpuSecond, 15_000.0)] },
    Mark { name: "list-flat", lakefs: "145,000 keys/CPU-s", target: ">= 500,000 keys/CPU-s", bounds: &[(PerCpuSecond, 500_000.0)] },
    Mark { name: "list-dirs", lakefs: "39.5 ms", target: "<= 6 ms", bounds: &[(MedianMs, 6.0)] },
    Mark { name: "metadata-bytes", lakefs: "85.6 B", target: "<= 60 B", bounds: &[(Single, 60.0)] },
    Mark { name: "rss-after", lakefs: "2.3 GB", target: "<= 400 MB", bounds: &[(Single, 400.0)] },
    Mark { name: "restart", lakefs: "0.91 s", target: "< 0.3 s", bounds: &[(Single, 300.0)] },
];

/// Everything a run found.
#[derive(Debug)]
pub struct Report {
    machine: Machine,
    size: u64,
    rows: Vec<Row>,
    facts: Vec<Fact>,
    notes: Vec<String>,
}

impl Report {
    /// An empty report of a run with `size` objects.
    pub fn new(machine: Machine, size: u64) -> Self {
        Self { machine, size, rows: Vec::new(), facts: Vec::new(), notes: Vec::new() }
    }
    /// Adds figures of a load.
    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }
    /// Adds a single figure.
    pub fn fact(&mut self, fact: Fact) {
        self.facts.push(fact);
    }
    /// Adds a remark that the reader of the table needs.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }
    /// Operations that failed, over all scenarios.
    pub fn failures(&self) -> u64 {
        self.rows.iter().map(|row| row.measured.failures).sum()
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!(
            "machine: {}\nwork: {} objects in one commit; server and load share the machine; every write is answered \
             when durable\n\"/CPU-s\" is per second of server CPU; MB are 10^6 bytes; latencies are seen by the client\n\n",
            self.machine.line(),
            grouped(self.size as f64)
        );
        let head = [
            "scenario",
            "unit",
            "done",
            "failed",
            "wall/s",
            "us CPU",
            "/CPU-s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "MB written",
            "RSS MB",
            "lakeFS 1.84",
            "target",
            "",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(line));
        for fact in &self.facts {
            let mark = mark(fact.name);
            let mut line = vec![String::new(); head.len()];
            line[0] = fact.name.to_owned();
            line[1] = fact.unit.to_owned();
            line[2] = figure(fact.value);
            line[12] = mark.map_or("", |mark| mark.lakefs).to_owned();
            line[13] = mark.map_or("", |mark| mark.target).to_owned();
            line[14] = mark.map_or("", |_| verdict(fact_meets(fact))).to_owned();
            lines.push(line);
        }
        let widths: Vec<usize> = (0..head.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        for line in &lines {
            let mut shown = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                let left = !(2..=11).contains(&column);
                let _ =
                    if left { write!(shown, "{cell:<width$}  ") } else { write!(shown, "{cell:>width$}  ") };
            }
            let _ = writeln!(text, "{}", shown.trim_end());
        }
        let _ = writeln!(text);
        for row in &self.rows {
            let _ = writeln!(text, "{}: {}", row.name, row.what);
            if let Some(failure) = &row.measured.first_failure {
                let _ = writeln!(text, "  {} failed, the first: {failure}", row.measured.failures);
            }
        }
        for fact in &self.facts {
            let _ = writeln!(text, "{}: {}", fact.name, fact.what);
        }
        for note in &self.notes {
            let _ = writeln!(text, "note: {note}");
        }
        text
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let measured = &row.measured;
                json!({
                    "name": row.name, "what": row.what, "unit": row.unit,
                    "operations": measured.operations, "failures": measured.failures,
                    "first_failure": measured.first_failure,
                    "wall_s": measured.wall.as_secs_f64(), "server_cpu_s": measured.server_cpu.as_secs_f64(),
                    "client_cpu_s": measured.client_cpu.as_secs_f64(),
                    "per_second": per_second(row), "per_cpu_second": per_cpu_second(row),
                    "p50_ms": measured.quantile_ms(0.5), "p99_ms": measured.quantile_ms(0.99), "max_ms": measured.quantile_ms(1.0),
                    "written_bytes": measured.written_bytes, "resident_bytes": measured.resident_bytes,
                    "lakefs": mark(row.name).map(|mark| mark.lakefs), "target": mark(row.name).map(|mark| mark.target),
                    "meets_target": mark(row.name).map(|_| row_meets(row)),
                })
            })
            .collect();
        let facts: Vec<Value> = self
            .facts
            .iter()
            .map(|fact| {
                json!({
                    "name": fact.name, "what": fact.what, "value": fact.value, "unit": fact.unit,
                    "lakefs": mark(fact.name).map(|mark| mark.lakefs), "target": mark(fact.name).map(|mark| mark.target),
                    "meets_target": mark(fact.name).map(|_| fact_meets(fact)),
                })
            })
            .collect();
        json!({ "machine": self.machine.json(), "objects": self.size, "rows": rows, "facts": facts, "notes": self.notes })
    }
}

fn line(row: &Row) -> Vec<String> {
    let measured = &row.measured;
    let units = measured.operations as f64 * row.units_per_operation;
    let mark = mark(row.name);
    vec![
        row.name.to_owned(),
        row.unit.to_owned(),
        figure(units),
        measured.failures.to_string(),
        figure(per_second(row)),
        figure(measured.server_cpu.as_secs_f64() * 1e6 / units),
        figure(per_cpu_second(row)),
        figure(measured.quantile_ms(0.5)),
        figure(measured.quantile_ms(0.99)),
        figure(measured.quantile_ms(1.0)),
        figure(measured.written_bytes as f64 / 1e6),
        figure(measured.resident_bytes as f64 / 1e6),
        mark.map_or("", |mark| mark.lakefs).to_owned(),
        mark.map_or("", |mark| mark.target).to_owned(),
        mark.map_or("", |_| verdict(row_meets(row))).to_owned(),
    ]
}

fn mark(name: &str) -> Option<&'static Mark> {
    MARKS.iter().find(|mark| mark.name == name)
}

fn per_second(row: &Row) -> f64 {
    row.measured.operations as f64 * row.units_per_operation / row.measured.wall.as_secs_f64()
}

fn per_cpu_second(row: &Row) -> f64 {
    row.measured.operations as f64 * row.units_per_operation / row.measured.server_cpu.as_secs_f64()
}

fn row_meets(row: &Row) -> bool {
    mark(row.name).is_none_or(|mark| {
        mark.bounds.iter().all(|&(figure, bound)| match figure {
            PerCpuSecond => per_cpu_second(row) >= bound,
            PerSecond => per_second(row) >= bound,
            MedianMs => row.measured.quantile_ms(0.5) <= bound,
            Failures => row.measured.failures as f64 <= bound,
            Single => false,
        })
    })
}

fn fact_meets(fact: &Fact) -> bool {
    mark(fact.name).is_none_or(|mark| mark.bounds.iter().all(|&(_, bound)| fact.value <= bound))
}

fn verdict(meets: bool) -> &'static str {
    if meets { "meets" } else { "MISSES" }
}

/// Three figures at least, thousands grouped.
fn figure(value: f64) -> String {
    match value {
        _ if !value.is_finite() => "-".to_owned(),
        _ if value.abs() < 10.0 => format!("{value:.2}"),
        _ if value.abs() < 100.0 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::time::Duration;

    fn row(operations: u64, cpu_ms: u64, latency_us: u32) -> Row {
        Row {
            name: "stat-64",
            what: "test".into(),
            unit: "ops",
            units_per_operation: 1.0,
            measured: Measured {
                operations,
                wall: Duration::from_secs(1),
                server_cpu: Duration::from_millis(cpu_ms),
                latencies: vec![latency_us; operations as usize],
                ..Measured::default()
            },
        }
    }

    #[test]
    fn a_target_is_met_only_if_every_bound_is() {
        assert!(row_meets(&row(40_000, 1_000, 2_000)));
        assert!(!row_meets(&row(20_000, 1_000, 2_000)), "too dear");
        assert!(!row_meets(&row(40_000, 1_000, 4_000)), "too slow");
        assert!(!row_meets(&row(0, 1_000, 0)), "nothing done");
    }

    #[test]
    fn the_table_names_scenario_rate_and_verdict() {
        let mut report = Report::new(Machine::describe(Path::new("/")), 1_000_000);
        report.row(row(40_000, 1_000, 2_000));
        report.fact(Fact { name: "metadata-bytes", what: "test".into(), value: 61.0, unit: "B" });
        let table = report.table();
        assert!(table.contains("1,000,000 objects"), "{table}");
        let stat = table.lines().find(|line| line.starts_with("stat-64  ")).expect("row");
        assert!(stat.contains("40,000") && stat.ends_with("meets"), "{stat}");
        assert!(
            table.lines().any(|line| line.starts_with("metadata-bytes") && line.ends_with("MISSES")),
            "{table}"
        );
    }

    #[test]
    fn numbers() {
        assert_eq!([0.5, 12.34, 999.0, 1_234_567.0].map(figure), ["0.50", "12.3", "999", "1,234,567"]);
        assert_eq!(figure(f64::NAN), "-");
    }
}
