//! A report's JSON as the tables of `docs/performance.md`.

use crate::report::{figure, verdict};
use serde_json::Value;
use std::fmt::Write as _;

/// When, where, and both tables.
pub fn page(report: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| figure(value.as_f64().unwrap_or(f64::NAN));
    let met = |value: &Value| match verdict(value.as_bool()) {
        "MISSED" => "**missed**",
        other => other,
    };
    let machine = &report["machine"];
    let mut page = format!(
        "Taken at {}, commit {}, N = {} objects. {}, {} cores, {:.1} GB, Linux {}, {}; load average at the start {}.\n\n",
        text(&report["taken_at"]),
        text(&machine["commit"]),
        number(&report["objects"]),
        text(&machine["processor"]),
        machine["cores"],
        machine["memory_bytes"].as_f64().unwrap_or(0.0) / 1e9,
        text(&machine["kernel"]),
        text(&machine["file_system"]),
        text(&machine["load_average"]),
    );
    page.push_str(
        "| scenario | unit | per s | us CPU | per CPU-s | p50 ms | p99 ms | max ms | MB written | RSS MB | lakeFS 1.84 | target | |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|---|\n",
    );
    for row in report["rows"].as_array().into_iter().flatten() {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            text(&row["name"]),
            text(&row["unit"]),
            number(&row["per_second"]),
            number(&row["server_cpu_us_per_unit"]),
            number(&row["per_cpu_second"]),
            number(&row["p50_ms"]),
            number(&row["p99_ms"]),
            number(&row["max_ms"]),
            figure(row["written_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6),
            figure(row["resident_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6),
            text(&row["lakefs"]),
            text(&row["target"]),
            met(&row["met"]),
        );
    }
    page.push_str("\n| figure | value | lakeFS 1.84 | target | |\n|---|---:|---|---|---|\n");
    for fact in report["facts"].as_array().into_iter().flatten() {
        let _ = writeln!(
            page,
            "| `{}`: {} | {} {} | {} | {} | {} |",
            text(&fact["name"]),
            text(&fact["what"]),
            number(&fact["value"]),
            text(&fact["unit"]),
            text(&fact["lakefs"]),
            text(&fact["target"]),
            met(&fact["met"]),
        );
    }
    for note in report["notes"].as_array().into_iter().flatten() {
        let _ = write!(page, "\n- {}", text(note));
    }
    page.push('\n');
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_facts_and_verdicts_become_tables() {
        let page = page(&json!({
            "taken_at": "now", "objects": 1000, "machine": {"commit": "abc", "cores": 2},
            "rows": [{"name": "stat-64", "unit": "ops", "per_second": 72499.0, "target": ">= 1", "met": false}],
            "facts": [{"name": "restart", "what": "start", "value": 86.2, "unit": "ms", "met": true}],
            "notes": ["a note"],
        }));
        for part in [
            "commit abc",
            "N = 1,000",
            "| `stat-64` | ops | 72,499 |",
            "| **missed** |",
            "86.2 ms |  |  | met |",
            "- a note",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
