//! A run: episodes one after the other until so many operations were done.

use crate::episode::{Outcome, Plan, Stage};
use anyhow::Result;
use millpond_bench::server::Setup;

/// Stories that a report tells.
const STORIES_MAX: usize = 5;

/// The sum of all episodes.
#[derive(Debug, Default)]
pub struct Report {
    /// How many.
    pub episodes: u64,
    /// Sums, and all violations.
    pub sum: Outcome,
    /// Seed of the first episode that broke a promise.
    pub failed_seed: Option<u64>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.sum.violations.is_empty() && self.sum.unexpected.is_empty()
    }

    fn add(&mut self, plan: Plan, outcome: Outcome) {
        let is_clean = outcome.violations.is_empty() && outcome.unexpected.is_empty();
        if !is_clean {
            self.failed_seed.get_or_insert(plan.seed);
        }
        self.episodes += 1;
        let sum = &mut self.sum;
        sum.operations += outcome.operations;
        sum.unknown += outcome.unknown;
        sum.refused += outcome.refused;
        sum.repeated += outcome.repeated;
        sum.commits += outcome.commits;
        sum.lost += outcome.lost;
        sum.kills += outcome.kills;
        sum.pauses += outcome.pauses;
        sum.violations.extend(outcome.violations);
        sum.unexpected.extend(outcome.unexpected);
    }

    /// For people.
    pub fn text(&self) -> String {
        let sum = &self.sum;
        let mut lines = vec![
            format!("episodes                       {}", self.episodes),
            format!("operations                     {}", sum.operations),
            format!("  without an answer            {}", sum.unknown),
            format!("  refused by their condition   {}", sum.refused),
            format!("  repeated with their key      {}", sum.repeated),
            format!("commits and merges in chains   {}", sum.commits),
            format!("kills, pauses                  {}, {}", sum.kills, sum.pauses),
            format!("requests and replies lost      {}", sum.lost),
            format!("unexpected answers             {}", sum.unexpected.len()),
            format!("violations                     {}", sum.violations.len()),
        ];
        if let Some(seed) = self.failed_seed {
            lines.push(format!("first seed that failed         {seed}"));
        }
        for violation in sum.violations.iter().take(STORIES_MAX) {
            lines.push(format!("VIOLATION of {}: {}", violation.rule, violation.story));
        }
        for answer in sum.unexpected.iter().take(STORIES_MAX) {
            lines.push(format!("UNEXPECTED {answer}"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Runs episodes of about `episode` operations until `operations` are done, or something is wrong.
pub async fn run(setup: Setup, seed: u64, operations: u64, episode: u64) -> Result<Report> {
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let mut report = Report::default();
            let mut stage = Stage::start(setup, seed).await?;
            while report.sum.operations < operations && report.is_clean() {
                let number = report.episodes;
                let plan = Plan::of_seed(seed.wrapping_add(number), episode);
                let (outcome, _) = stage.run(plan, number).await?;
                report.add(plan, outcome);
            }
            stage.stop().await?;
            Ok(report)
        })
        .await
}
