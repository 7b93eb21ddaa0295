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
    pub what: &'static str,
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
    MaxMs,
    Failures,
    /// By one operation.
    WrittenMb,
    Value,
}

/// A row of the table of issue 4.
struct Mark {
    name: &'static str,
    /// The number of objects it speaks of; none is a million, and stands in where a size has no mark of its own.
    size: Option<u64>,
    lakefs: &'static str,
    target: &'static str,
    /// Each figure with its bound; rates have a least value, everything else a greatest.
    bounds: &'static [(Figure, f64)],
}

const fn mark(
    name: &'static str,
    lakefs: &'static str,
    target: &'static str,
    bounds: &'static [(Figure, f64)],
) -> Mark {
    Mark { name, size: None, lakefs, target, bounds }
}

const fn mark_1e7(name: &'static str, target: &'static str, bounds: &'static [(Figure, f64)]) -> Mark {
    Mark { name, size: Some(10_000_000), lakefs: "not measured at 1e7", target, bounds }
}

use Figure::{Failures, MaxMs, MedianMs, PerCpuSecond, PerSecond, Value as Single, WrittenMb};

#[rustfmt::skip]
const MARKS: &[Mark] = &[
    mark("stat-64", "2,815/CPU-s, p50 23 ms", ">= 30,000/CPU-s, p50 < 3 ms", &[(PerCpuSecond, 30_000.0), (MedianMs, 3.0)]),
    mark("stage-64", "4,730/CPU-s, 3,868/s", ">= 30,000/CPU-s, >= 20,000/s", &[(PerCpuSecond, 30_000.0), (PerSecond, 20_000.0)]),
    mark("stage-1", "8.1 ms", "<= 1.5 ms", &[(MedianMs, 1.5)]),
    mark("put-4k-64", "3,405/CPU-s (not synced)", ">= 10,000/CPU-s", &[(PerCpuSecond, 10_000.0)]),
    mark("put-4k-1", "11.4 ms (not synced)", "<= 2 ms", &[(MedianMs, 2.0)]),
    mark("get-4k-64", "3,845/CPU-s", ">= 20,000/CPU-s", &[(PerCpuSecond, 20_000.0)]),
    mark("put-64m-unsigned", "253 MB/CPU-s", ">= 300 MB/CPU-s", &[(PerCpuSecond, 300.0)]),
    mark("put-64m-trailer", "253 MB/CPU-s", ">= 300 MB/CPU-s", &[(PerCpuSecond, 300.0)]),
    mark("put-64m-signed", "253 MB/CPU-s", ">= 280 MB/CPU-s", &[(PerCpuSecond, 280.0)]),
    mark("put-64m-chunks", "253 MB/CPU-s", ">= 240 MB/CPU-s", &[(PerCpuSecond, 240.0)]),
    mark("get-64m", "1,347 MB/CPU-s", ">= 1,500 MB/CPU-s", &[(PerCpuSecond, 1_500.0)]),
    mark("commit-1", "243 ms", "<= 5 ms", &[(MedianMs, 5.0)]),
    mark("commit-100", "2,417 ms", "<= 20 ms", &[(MedianMs, 20.0)]),
    mark_1e7("commit-100", "<= 50 ms, <= 1 MB written", &[(MedianMs, 50.0), (WrittenMb, 1.0)]),
    mark("commit-1000", "2,503 ms", "<= 100 ms", &[(MedianMs, 100.0)]),
    mark("diff-1", "275 ms", "<= 5 ms", &[(MedianMs, 5.0)]),
    mark("diff-100", "1,555 ms", "<= 20 ms", &[(MedianMs, 20.0)]),
    mark("diff-1000", "2,000 ms", "<= 80 ms", &[(MedianMs, 80.0)]),
    mark_1e7("diff-1000", "<= 200 ms", &[(MedianMs, 200.0)]),
    mark("merge-rounds-64", "0.44/s, 17 of 200 failed, max 453 s", ">= 200/s, none fails, max < 2 s", &[(PerSecond, 200.0), (Failures, 0.0), (MaxMs, 2_000.0)]),
    mark("branch-64", "4,286/CPU-s", ">= 15,000/CPU-s", &[(PerCpuSecond, 15_000.0)]),
    mark("import", "6,094/s cold, 31,000/s cached", ">= 300,000/s where the listing allows", &[(PerSecond, 300_000.0)]),
    mark("list-flat", "145,000 keys/CPU-s", ">= 500,000 keys/CPU-s", &[(PerCpuSecond, 500_000.0)]),
    mark("list-dirs", "39.5 ms", "<= 6 ms", &[(MedianMs, 6.0)]),
    mark("cli-upload", "DVC 9.2 s, Oxen 30 s", "<= 4 s", &[(MedianMs, 4_000.0)]),
    mark("cli-again", "DVC 3.4 s, Oxen 2.1 s", "<= 1 s", &[(MedianMs, 1_000.0)]),
    mark("import-metadata-bytes", "85.6 B", "<= 60 B (no MD5: <= 45)", &[(Single, 60.0)]),
    mark("metadata-bytes", "85.6 B", "<= 60 B", &[(Single, 60.0)]),
    mark("rss-idle", "129 MB", "<= 60 MB", &[(Single, 60.0)]),
    mark("rss-after", "2.3 GB", "<= 400 MB", &[(Single, 400.0)]),
    mark("restart", "0.91 s", "< 0.3 s", &[(Single, 300.0)]),
    mark("restart-killed", "", "< 0.3 s", &[(Single, 300.0)]),
];

fn mark_of(name: &str, size: u64) -> Option<&'static Mark> {
    let named = || MARKS.iter().filter(|mark| mark.name == name);
    named().find(|mark| mark.size == Some(size)).or_else(|| named().find(|mark| mark.size.is_none()))
}

/// Everything a run found.
#[derive(Debug)]
pub struct Report {
    machine: Machine,
    size: u64,
    scenarios: Vec<&'static str>,
    rows: Vec<Row>,
    facts: Vec<Fact>,
    notes: Vec<String>,
}

/// A figure beside what it is compared with; empty where the issue names nothing.
struct Judged {
    lakefs: &'static str,
    target: &'static str,
    met: Option<bool>,
}

/// The word for a target that is met, missed or not there.
pub fn verdict(met: Option<bool>) -> &'static str {
    match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    }
}

impl Report {
    /// An empty report of a run with `size` objects.
    pub fn new(machine: Machine, size: u64) -> Self {
        Self { machine, size, scenarios: Vec::new(), rows: Vec::new(), facts: Vec::new(), notes: Vec::new() }
    }
    /// A scenario has come to its end.
    pub fn ended(&mut self, scenario: &'static str) {
        self.scenarios.push(scenario);
    }
    /// Adds figures of a load.
    pub fn row(&mut self, row: Row) {
        self.rows.push(row);
    }
    /// Whether there is a row of that name.
    pub fn has_row(&self, name: &str) -> bool {
        self.rows.iter().any(|row| row.name == name)
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

    /// The median of each row in milliseconds and each single figure, by name; with the machine.
    pub fn figures(&self) -> Value {
        let mut figures = json!({"machine": self.machine.json()});
        for row in &self.rows {
            figures[row.name] = row.measured.quantile_ms(0.5).into();
        }
        for fact in &self.facts {
            figures[fact.name] = fact.value.into();
        }
        figures
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut text = format!(
            "machine: {}\nwork: N = {} objects; server and load share the machine; every write is answered when \
             durable\n\"/CPU-s\" is per second of server CPU; MB are 10^6 bytes, written by the server process in \
             the time measured, and (du) added to its data folder, preparations included; latencies are seen by the client\n\n",
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
            "MB du",
            "RSS MB",
            "lakeFS 1.84",
            "target",
            "",
        ];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        lines.extend(self.rows.iter().map(|row| self.line(row)));
        for fact in &self.facts {
            let judged = self.judge_fact(fact);
            let mut line = vec![String::new(); head.len()];
            line[0] = fact.name.to_owned();
            line[1] = fact.unit.to_owned();
            line[2] = figure(fact.value);
            line[13] = judged.lakefs.to_owned();
            line[14] = judged.target.to_owned();
            line[15] = verdict(judged.met).to_owned();
            lines.push(line);
        }
        let widths: Vec<usize> = (0..head.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect();
        for line in &lines {
            let mut shown = String::new();
            for (column, cell) in line.iter().enumerate() {
                let width = widths[column];
                let left = !(2..=12).contains(&column);
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
                let (measured, judged) = (&row.measured, self.judge_row(row));
                json!({
                    "name": row.name, "what": row.what, "unit": row.unit,
                    "operations": measured.operations, "failures": measured.failures,
                    "first_failure": measured.first_failure,
                    "wall_s": measured.wall.as_secs_f64(), "server_cpu_s": measured.server_cpu.as_secs_f64(),
                    "client_cpu_s": measured.client_cpu.as_secs_f64(),
                    "per_second": per_second(row), "per_cpu_second": per_cpu_second(row),
                    "server_cpu_us_per_unit": cpu_us(row),
                    "p50_ms": measured.quantile_ms(0.5), "p99_ms": measured.quantile_ms(0.99), "max_ms": measured.quantile_ms(1.0),
                    "written_bytes": measured.written_bytes, "disk_bytes": measured.disk_bytes,
                    "resident_bytes": measured.resident_bytes,
                    "lakefs": judged.lakefs, "target": judged.target, "met": judged.met,
                })
            })
            .collect();
        let facts: Vec<Value> = self
            .facts
            .iter()
            .map(|fact| {
                let judged = self.judge_fact(fact);
                json!({
                    "name": fact.name, "what": fact.what, "value": fact.value, "unit": fact.unit,
                    "lakefs": judged.lakefs, "target": judged.target, "met": judged.met,
                })
            })
            .collect();
        json!({
            "machine": self.machine.json(), "objects": self.size, "scenarios": self.scenarios,
            "rows": rows, "facts": facts, "notes": self.notes,
        })
    }

    fn line(&self, row: &Row) -> Vec<String> {
        let (measured, judged) = (&row.measured, self.judge_row(row));
        vec![
            row.name.to_owned(),
            row.unit.to_owned(),
            figure(units(row)),
            measured.failures.to_string(),
            figure(per_second(row)),
            figure(cpu_us(row)),
            figure(per_cpu_second(row)),
            figure(measured.quantile_ms(0.5)),
            figure(measured.quantile_ms(0.99)),
            figure(measured.quantile_ms(1.0)),
            figure(measured.written_bytes as f64 / 1e6),
            figure(measured.disk_bytes.map_or(f64::NAN, |bytes| bytes as f64 / 1e6)),
            figure(measured.resident_bytes as f64 / 1e6),
            judged.lakefs.to_owned(),
            judged.target.to_owned(),
            verdict(judged.met).to_owned(),
        ]
    }

    fn judge_row(&self, row: &Row) -> Judged {
        self.judge(row.name, |figure, bound| match figure {
            PerCpuSecond => per_cpu_second(row) >= bound,
            PerSecond => per_second(row) >= bound,
            MedianMs => row.measured.quantile_ms(0.5) <= bound,
            MaxMs => row.measured.quantile_ms(1.0) <= bound,
            Failures => row.measured.failures as f64 <= bound,
            WrittenMb => row.measured.written_bytes as f64 / 1e6 <= bound * row.measured.operations as f64,
            Single => false,
        })
    }

    fn judge_fact(&self, fact: &Fact) -> Judged {
        self.judge(fact.name, |_, bound| fact.value <= bound)
    }

    fn judge(&self, name: &str, meets: impl Fn(Figure, f64) -> bool) -> Judged {
        match mark_of(name, self.size) {
            Some(mark) => Judged {
                lakefs: mark.lakefs,
                target: mark.target,
                met: Some(mark.bounds.iter().all(|&(figure, bound)| meets(figure, bound))),
            },
            None => Judged { lakefs: "", target: "", met: None },
        }
    }
}

fn units(row: &Row) -> f64 {
    row.measured.operations as f64 * row.units_per_operation
}

fn per_second(row: &Row) -> f64 {
    units(row) / row.measured.wall.as_secs_f64()
}

fn per_cpu_second(row: &Row) -> f64 {
    units(row) / row.measured.server_cpu.as_secs_f64()
}

fn cpu_us(row: &Row) -> f64 {
    row.measured.server_cpu.as_secs_f64() * 1e6 / units(row)
}

/// Three figures at least, thousands grouped.
pub fn figure(value: f64) -> String {
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
            what: "test",
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
        let report = Report::new(Machine::describe(Path::new("/")), 1_000_000);
        let met = |row: Row| report.judge_row(&row).met;
        assert_eq!(met(row(40_000, 1_000, 2_000)), Some(true));
        assert_eq!(met(row(20_000, 1_000, 2_000)), Some(false), "too dear");
        assert_eq!(met(row(40_000, 1_000, 4_000)), Some(false), "too slow");
        assert_eq!(met(row(0, 1_000, 0)), Some(false), "nothing done");
    }

    #[test]
    fn a_size_may_have_marks_of_its_own() {
        let target = |size| mark_of("commit-100", size).map(|mark| mark.target);
        assert_eq!(target(1_000_000), Some("<= 20 ms"));
        assert_eq!(target(10_000_000), Some("<= 50 ms, <= 1 MB written"));
        assert_eq!(mark_of("stat-1", 1_000_000).map(|mark| mark.target), None);
    }

    #[test]
    fn the_table_names_scenario_rate_and_verdict() {
        let mut report = Report::new(Machine::describe(Path::new("/")), 1_000_000);
        report.row(row(40_000, 1_000, 2_000));
        report.fact(Fact { name: "metadata-bytes", what: "test".into(), value: 61.0, unit: "B" });
        let table = report.table();
        assert!(table.contains("1,000,000 objects"), "{table}");
        let stat = table.lines().find(|line| line.starts_with("stat-64  ")).expect("row");
        assert!(stat.contains("40,000") && stat.ends_with(" met"), "{stat}");
        assert!(
            table.lines().any(|line| line.starts_with("metadata-bytes") && line.ends_with("MISSED")),
            "{table}"
        );
    }

    #[test]
    fn numbers() {
        assert_eq!([0.5, 12.34, 999.0, 1_234_567.0].map(figure), ["0.50", "12.3", "999", "1,234,567"]);
        assert_eq!(figure(f64::NAN), "-");
    }
}
