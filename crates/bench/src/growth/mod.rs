//! `millpond-bench growth`: what the same work costs as the repository grows.
//!
//! Each size is a run of a few scenarios on a fresh server; the tree alone is measured by its own tool, which
//! reaches sizes that nobody wants to load through HTTP. Figures are kept in a JSON file, one point for each
//! size, so that a large size need not be measured again to draw the rest; the charts are drawn from the file.

mod chart;

use crate::run;
use anyhow::{Context, Result, ensure};
use chart::{Line, Panel};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Arguments of `growth`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Objects in the repository of each run; none only draws what is in the file.
    #[arg(long, value_delimiter = ',', value_parser = run::count, value_name = "N")]
    sizes: Vec<u64>,
    /// Entries of each tree that is measured without a server; none leaves these points as they are.
    #[arg(long, value_delimiter = ',', value_parser = run::count, value_name = "N")]
    tree_sizes: Vec<u64>,
    /// The tool that measures the tree.
    #[arg(long, default_value = "target/release/examples/measure", value_name = "PROGRAM")]
    tree_tool: PathBuf,
    /// How the repositories get their objects.
    #[arg(long, default_value = "copy", value_name = "HOW")]
    load: run::Load,
    /// The figures, kept from one call to the next.
    #[arg(long, default_value = "docs/growth.json", value_name = "FILE")]
    json: PathBuf,
    /// The charts.
    #[arg(long, default_value = "docs/growth.svg", value_name = "FILE")]
    svg: PathBuf,
}

/// Scenarios of a run, and those of their rows whose median is drawn.
const ONLY: &[&str] = &["stat-1", "commit", "diff", "list-flat", "restart"];

/// Measures, writes the file, draws the charts.
pub async fn growth(options: &Options) -> Result<ExitCode> {
    let mut file = match std::fs::read(&options.json) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("read {}", options.json.display()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({"server": {}, "tree": {}}),
        Err(error) => return Err(error).with_context(|| format!("read {}", options.json.display())),
    };
    for &size in &options.sizes {
        let only = ONLY.iter().map(|name| (*name).to_owned()).collect();
        let mut point = run::figures(only, size, options.load).await?;
        point["load"] = format!("{:?}", options.load).to_lowercase().into();
        file["server"][size.to_string()] = point;
        save(&options.json, &file)?;
    }
    for &size in &options.tree_sizes {
        eprintln!("tree of {size} entries ...");
        file["tree"][size.to_string()] = tree(&options.tree_tool, size)?;
        save(&options.json, &file)?;
    }
    let svg = chart::draw(&panels(&file));
    std::fs::write(&options.svg, svg).with_context(|| format!("write {}", options.svg.display()))?;
    writeln!(std::io::stdout(), "{}", options.svg.display())?;
    Ok(ExitCode::SUCCESS)
}

fn save(path: &Path, file: &Value) -> Result<()> {
    std::fs::write(path, format!("{file:#}\n")).with_context(|| format!("write {}", path.display()))
}

/// One run of the tree's tool.
fn tree(tool: &Path, size: u64) -> Result<Value> {
    let output = Command::new(tool)
        .args(["--json", "--changes", "1,100,1000", "--objects", &size.to_string()])
        .output()
        .with_context(|| format!("start {}", tool.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).context("the tool's answer")?;
    let mut point = json!({"bytes_per_object": report["bytes_per_object"], "rss_bytes": report["rss_bytes"]});
    for row in report["rows"].as_array().into_iter().flatten() {
        if let Some(name) = row["name"].as_str() {
            point[name] = row.clone();
        }
    }
    Ok(point)
}

/// lakeFS 1.84 at 1e5 and 1e6 objects, where it was measured.
const LAKEFS_COMMIT_100: &[(f64, f64)] = &[(1e5, 198.0), (1e6, 1_790.0)];
const LAKEFS_DIFF_100: &[(f64, f64)] = &[(1e5, 149.0), (1e6, 1_276.0)];

fn panels(file: &Value) -> Vec<Panel> {
    let server = |name: &str, label: &str| Line::new(label, points(&file["server"], |point| &point[name]));
    let lakefs = |label: &str, points: &[(f64, f64)]| Line::quoted(label, points.to_vec());
    let tree_ms = |name: &str, label: &str| {
        Line::new(label, points(&file["tree"], |point| &point[format!("{name} stored")]["wall_ms"]))
    };
    vec![
        Panel::new(
            "commit, ms",
            vec![
                server("commit-1", "1 change"),
                server("commit-100", "100"),
                server("commit-1000", "1,000"),
                lakefs("lakeFS, 100", LAKEFS_COMMIT_100),
            ],
        ),
        Panel::new(
            "diff, ms",
            vec![
                server("diff-1", "1 change"),
                server("diff-100", "100"),
                server("diff-1000", "1,000"),
                lakefs("lakeFS, 100", LAKEFS_DIFF_100),
            ],
        ),
        Panel::new("look-up (stat by commit id, 1 client), ms", vec![server("stat-1", "stat")]),
        Panel::new("list, a page of 1,000 keys, ms", vec![server("list-flat", "page")]),
        Panel::new(
            "resident memory after all of it, MB",
            vec![
                server("rss-loaded", "after the load"),
                server("rss-after", "after everything"),
                lakefs("lakeFS", &[(1e6, 2_300.0)]),
            ],
        ),
        Panel::new(
            "the tree alone: changes over stored ones, ms",
            vec![
                tree_ms("apply 1", "apply 1"),
                tree_ms("apply 100", "apply 100"),
                tree_ms("apply 1000", "apply 1,000"),
                tree_ms("diff 1000", "diff 1,000"),
            ],
        ),
    ]
}

/// What one figure is at each size, ascending.
fn points<'a>(by_size: &'a Value, figure: impl Fn(&'a Value) -> &'a Value) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = by_size
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(size, point)| Some((size.parse().ok()?, figure(point).as_f64()?)))
        .collect();
    points.sort_by(|left, right| left.0.total_cmp(&right.0));
    points
}
