//! The history checker against this binary: the short form of `make history`. Rules and accidents are described
//! in `docs/design/history.md`.

use millpond_bench::server::Setup;
use millpond_history::episode::{Accidents, Outcome, Plan, Stage, Workload};
use millpond_history::proxy::Loss;

/// Runs work with a server of its own on an empty folder.
pub fn on_stage(work: impl AsyncFnOnce(&mut Stage)) {
    on_stage_with(Vec::new(), work);
}

/// The same with a command around the server.
pub fn on_stage_with(wrapper: Vec<String>, work: impl AsyncFnOnce(&mut Stage)) {
    let folder = tempfile::tempdir().expect("a folder");
    let setup = Setup::of(env!("CARGO_BIN_EXE_millpond").into(), folder.path()).expect("a folder");
    let setup = Setup { wrapper, ..setup };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        let mut stage = Stage::start(setup, 1).await.expect("the server starts");
        work(&mut stage).await;
        stage.stop().await.expect("the server stops");
    }));
}

/// Runs an episode, which must keep every promise and must have been worth it.
fn clean(plan: Plan) -> Outcome {
    let mut outcome = Outcome::default();
    on_stage(async |stage| {
        let (found, _) = stage.run(plan, 0).await.expect("the episode runs");
        outcome = found;
    });
    let stories: Vec<String> =
        outcome.violations.iter().map(|v| format!("{}: {}", v.rule, v.story)).collect();
    assert!(stories.is_empty(), "seed {}\n{}", plan.seed, stories.join("\n"));
    assert!(outcome.unexpected.is_empty(), "seed {}\n{}", plan.seed, outcome.unexpected.join("\n"));
    assert!(outcome.operations >= plan.operations && outcome.commits > 10, "{outcome:?}");
    outcome
}

const LOSS: Loss = Loss { requests_one_in: 100, replies_one_in: 20 };

#[test]
fn staging_keeps_its_promises_through_kills_pauses_and_lost_replies() {
    let accidents = Accidents { kills: 2, pauses: 1, loss: LOSS };
    let plan = Plan { seed: 1, clients: 8, operations: 1_500, workload: Workload::Staging, accidents };
    let outcome = clean(plan);
    assert!(
        outcome.kills == 2 && outcome.lost > 0 && outcome.repeated > 0 && outcome.refused > 0,
        "{outcome:?}"
    );
}

#[test]
fn staging_keeps_its_promises_at_full_speed() {
    let accidents = Accidents::default();
    let plan = Plan { seed: 2, clients: 16, operations: 1_500, workload: Workload::Staging, accidents };
    clean(plan);
}

#[test]
fn merging_keeps_its_promises_through_kills_pauses_and_lost_replies() {
    let accidents = Accidents { kills: 1, pauses: 1, loss: LOSS };
    let plan = Plan { seed: 3, clients: 8, operations: 800, workload: Workload::Merging, accidents };
    let outcome = clean(plan);
    assert!(outcome.kills == 1 && outcome.lost > 0 && outcome.repeated > 0, "{outcome:?}");
}
