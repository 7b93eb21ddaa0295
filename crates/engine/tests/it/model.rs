//! Random histories against a model that is simple enough to be obviously right: a `BTreeMap` per commit
//! and two per branch.

use crate::support::*;
use bytes::Bytes;
use millpond_engine::*;
use millpond_testkit::Seeded;
use millpond_testkit::model::{self, History, ModelCommit, Wins};
use millpond_types::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

type Body = Vec<u8>;
type Files = model::Files<Body>;
/// Whether a reset is about a path.
type Hit = Box<dyn Fn(&[u8]) -> bool>;

#[derive(Clone)]
struct ModelBranch {
    head: CommitId,
    visible: Files,
}

#[derive(Default)]
struct Model {
    branches: BTreeMap<String, ModelBranch>,
    commits: History<Body>,
    trees: HashMap<Vec<(Vec<u8>, Body)>, TreeId>,
}

impl Model {
    fn committed(&self, branch: &ModelBranch) -> &Files {
        &self.commits[branch.head].files
    }
    fn dirty(&self, name: &str) -> bool {
        let branch = &self.branches[name];
        branch.visible != *self.committed(branch)
    }
}

fn wins(strategy: MergeStrategy) -> Wins {
    match strategy {
        MergeStrategy::Refuse => Wins::Nobody,
        MergeStrategy::SourceWins => Wins::Source,
        MergeStrategy::DestWins => Wins::Dest,
    }
}

/// More keys than a memtable holds.
fn keys() -> Vec<Vec<u8>> {
    let mut keys = model::hostile_keys();
    keys.extend((0..40).map(|i| format!("data/part-{i:03}").into_bytes()));
    keys
}

struct Run {
    world: World,
    engine: Arc<Engine>,
    model: Model,
    rng: Arc<Seeded>,
    keys: Vec<Vec<u8>>,
    step: usize,
}

impl Run {
    async fn check(&mut self) {
        let names: Vec<String> = self.model.branches.keys().cloned().collect();
        for name in names {
            let branch = self.model.branches[&name].clone();
            let expected: Vec<_> = branch.visible.keys().cloned().collect();
            let amount = 1 + self.rng.below(20);
            let listed = list(&self.engine, &name, amount).await;
            assert_eq!(
                listed.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(),
                expected,
                "visible on {name}"
            );
            let committed = self.model.committed(&branch).clone();
            let listed = list(&self.engine, &format!("{name}@"), 1000).await;
            assert_eq!(
                listed.into_iter().map(|(k, _)| k).collect::<Vec<_>>(),
                committed.keys().cloned().collect::<Vec<_>>()
            );
            let mut changes = Vec::new();
            for path in committed.keys().chain(branch.visible.keys()).collect::<BTreeSet<_>>() {
                let text = String::from_utf8_lossy(path);
                match (committed.get(path), branch.visible.get(path)) {
                    (None, Some(_)) => changes.push(format!("+ {text}")),
                    (Some(_), None) => changes.push(format!("- {text}")),
                    (Some(a), Some(b)) if a != b => changes.push(format!("~ {text}")),
                    _ => {}
                }
            }
            assert_eq!(uncommitted(&self.engine, &name).await, changes, "uncommitted on {name}");
            if let Some((key, body)) = branch.visible.iter().nth(self.rng.below(branch.visible.len().max(1)))
            {
                assert_eq!(get(&self.engine, &name, key).await.as_ref(), Some(body));
            }
        }
        let id = self.any_commit();
        let files = self.model.commits[id].files.clone();
        for (key, body) in files.iter().step_by(7) {
            assert_eq!(get(&self.engine, &id.to_hex(), key).await.as_ref(), Some(body), "at commit {id}");
        }
    }

    /// Same files, same tree, whatever the history: the clock of this run stands still.
    fn note_tree(&mut self, files: &Files, tree: TreeId) {
        let content: Vec<_> = files.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        let known = self.model.trees.entry(content).or_insert(tree);
        assert_eq!(*known, tree, "the same content has two tree ids");
    }

    fn any_branch(&self) -> String {
        let names: Vec<_> = self.model.branches.keys().cloned().collect();
        self.rng.pick(&names).clone()
    }

    fn any_commit(&self) -> CommitId {
        *self.rng.pick(&self.model.commits.ids())
    }

    fn committed(&mut self, name: &str, info: &CommitInfo, files: Files) {
        self.note_tree(&files, info.commit.tree);
        self.model.commits.add(info.id, files, info.commit.parents.clone());
        self.model.branches.get_mut(name).unwrap().head = info.id;
    }

    async fn one(&mut self) {
        self.step += 1;
        let message = format!("step {}", self.step);
        let name = self.any_branch();
        let branch_name = branch(&name);
        match self.rng.below(24) {
            0..=8 => {
                let key = self.rng.pick(&self.keys).clone();
                let body = format!("body {}", self.rng.below(4)).into_bytes();
                put(&self.engine, &name, &key, &body).await;
                self.model.branches.get_mut(&name).unwrap().visible.insert(key, body);
            }
            9..=10 => {
                let key = self.rng.pick(&self.keys).clone();
                delete(&self.engine, &name, &key).await;
                self.model.branches.get_mut(&name).unwrap().visible.remove(&key);
            }
            11 => {
                // Delete everything under a prefix, in one batch.
                let prefix = self.rng.pick(&["data/", "a", "orders", ""]).as_bytes().to_vec();
                let visible = &mut self.model.branches.get_mut(&name).unwrap().visible;
                let doomed: Vec<_> = visible.keys().filter(|k| k.starts_with(&prefix)).cloned().collect();
                doomed.iter().for_each(|key| drop(visible.remove(key)));
                let batch = doomed.iter().map(|k| (path(k), WriteCondition::default())).collect();
                let failed =
                    self.engine.delete_objects(&me(), &repo(), &branch_name, batch, false).await.unwrap();
                assert!(failed.is_empty());
            }
            12..=14 => {
                let dirty = self.model.dirty(&name);
                match commit(&self.engine, &name, &message).await {
                    Ok(info) => {
                        assert!(dirty, "committed without changes");
                        let files = self.model.branches[&name].visible.clone();
                        self.committed(&name, &info, files);
                    }
                    Err(e) => {
                        assert_eq!(e.kind, Kind::NoChanges, "{e}");
                        assert!(!dirty);
                    }
                }
            }
            15 => {
                let prefix = self.rng.pick(&["data/part-00", "a/", "orders"]).as_bytes().to_vec();
                let key = self.rng.pick(&self.keys).clone();
                let branch = self.model.branches[&name].clone();
                let chosen = |k: &[u8]| k.starts_with(&prefix) || *k == key;
                let files = model::with_paths_of(self.model.committed(&branch), &branch.visible, chosen);
                let request = CommitRequest {
                    message,
                    paths: vec![path(&key)],
                    prefixes: vec![Bytes::from(prefix.clone())],
                    ..Default::default()
                };
                match self.engine.commit(&me(), &repo(), &branch_name, request).await {
                    Ok(info) => self.committed(&name, &info, files),
                    Err(e) => {
                        assert_eq!(e.kind, Kind::NoChanges, "{e}");
                        assert_eq!(files, *self.model.committed(&branch));
                    }
                }
            }
            16 => {
                let new = format!("b{}", self.step);
                let from = self.any_commit();
                let made = self
                    .engine
                    .create_branch(&me(), &repo(), &branch(&new), &at(&from.to_hex()), false, false)
                    .await;
                assert_eq!(made.unwrap(), from);
                let visible = self.model.commits[from].files.clone();
                self.model.branches.insert(new, ModelBranch { head: from, visible });
            }
            17 if name != "main" && self.model.branches.len() > 4 => {
                self.engine.delete_branch(&me(), &repo(), &branch_name, false).await.unwrap();
                self.model.branches.remove(&name);
            }
            17..=18 => {
                let source = self.any_branch();
                let strategy = *self.rng.pick(&[
                    MergeStrategy::Refuse,
                    MergeStrategy::SourceWins,
                    MergeStrategy::DestWins,
                ]);
                let (dest_id, source_id) =
                    (self.model.branches[&name].head, self.model.branches[&source].head);
                let base = self.model.commits.base(dest_id, source_id);
                let files = |id: &CommitId| self.model.commits[*id].files.clone();
                let (base, dest, theirs) = (files(&base), files(&dest_id), files(&source_id));
                let squash = self.rng.below(4) == 0;
                let request = MergeRequest { message, strategy, squash, ..Default::default() };
                let merged = self.engine.merge(&me(), &repo(), &at(&source), &branch_name, request).await;
                match merged {
                    Ok(id) => {
                        let expected = model::merge(&base, &dest, &theirs, wins(strategy))
                            .expect("the model has a conflict");
                        let info = self.engine.get_commit(&repo(), &at(&id.to_hex())).await.unwrap();
                        let parents = if squash { vec![dest_id] } else { vec![dest_id, source_id] };
                        assert_eq!(info.commit.parents, parents);
                        self.committed(&name, &info, expected.clone());
                        self.model.branches.get_mut(&name).unwrap().visible = expected;
                    }
                    Err(e) => match e.kind {
                        Kind::Dirty => assert!(self.model.dirty(&name)),
                        Kind::NoChanges => assert_eq!(base, theirs),
                        Kind::Conflict => {
                            assert!(model::merge(&base, &dest, &theirs, wins(strategy)).is_none())
                        }
                        _ => panic!("{e}"),
                    },
                }
            }
            19 => self.apply_commit(&name, true, &message).await,
            20 => self.apply_commit(&name, false, &message).await,
            21 => {
                let key = self.rng.pick(&self.keys).clone();
                let prefix = self.rng.pick(&["data/", "a", "orders", ""]).as_bytes().to_vec();
                let branch = self.model.branches[&name].clone();
                let committed = self.model.committed(&branch).clone();
                let scope = match self.rng.below(3) {
                    0 => ResetScope::All,
                    1 => ResetScope::Prefix(prefix.clone().into()),
                    _ => ResetScope::Path(path(&key)),
                };
                let hit: Hit = match &scope {
                    ResetScope::All => Box::new(|_| true),
                    ResetScope::Prefix(_) => Box::new(move |k| k.starts_with(&prefix)),
                    ResetScope::Path(_) => Box::new(move |k| k == key),
                };
                let visible = &mut self.model.branches.get_mut(&name).unwrap().visible;
                *visible = model::with_paths_of(visible, &committed, hit);
                self.engine.reset(&me(), &repo(), &branch_name, scope, false).await.unwrap();
            }
            22 => {
                let to = self.any_commit();
                let reset =
                    self.engine.hard_reset(&me(), &repo(), &branch_name, &at(&to.to_hex()), false).await;
                if self.model.dirty(&name) {
                    assert_eq!(reset.unwrap_err().kind, Kind::Dirty);
                } else {
                    reset.unwrap();
                    let visible = self.model.commits[to].files.clone();
                    self.model.branches.insert(name, ModelBranch { head: to, visible });
                }
            }
            _ => {
                if self.rng.below(2) == 0 {
                    self.engine.checkpoint().await.unwrap();
                }
                // No clean stop: what is acknowledged must be there all the same.
                self.engine = self.world.open().await;
            }
        }
    }

    async fn apply_commit(&mut self, name: &str, revert: bool, message: &str) {
        let id = self.any_commit();
        let ModelCommit { files, parents, .. } = self.model.commits[id].clone();
        let first = parents.first().map(|p| self.model.commits[*p].files.clone());
        let overrides = CommitOverrides { message: Some(message.to_owned()), metadata: None };
        let head = self.model.committed(&self.model.branches[name]).clone();
        let (target, branch_name) = (at(&id.to_hex()), branch(name));
        let (outcome, base, source) = if revert {
            let number = u64::from(parents.len() > 1);
            let done = self
                .engine
                .revert(&me(), &repo(), &branch_name, &target, number, overrides, false, false)
                .await;
            (done, files, first.unwrap_or_default())
        } else {
            let number = (parents.len() > 1).then_some(1);
            let done = self
                .engine
                .cherry_pick(&me(), &repo(), &branch_name, &target, number, overrides, false)
                .await;
            if parents.is_empty() {
                assert_eq!(
                    done.unwrap_err().kind,
                    Kind::Invalid,
                    "a root commit has no parent to compare with"
                );
                return;
            }
            (done, first.unwrap_or_default(), files)
        };
        let merged = model::merge(&base, &head, &source, Wins::Nobody);
        match outcome {
            Ok(info) => {
                let expected = merged.expect("the model has a conflict");
                self.committed(name, &info, expected.clone());
                self.model.branches.get_mut(name).unwrap().visible = expected;
            }
            Err(e) => match e.kind {
                Kind::Dirty => assert!(self.model.dirty(name)),
                Kind::NoChanges => assert!(base == source || merged.as_ref() == Some(&head)),
                Kind::Conflict => assert!(merged.is_none()),
                _ => panic!("{e}"),
            },
        }
    }
}

async fn history(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    // Small enough that folding happens in the middle of histories.
    world.options.memtable_entries_max = 8;
    let engine = with_repo(&world).await;
    let head = engine.get_branch(&repo(), &branch("main")).unwrap().commit;
    let mut model = Model::default();
    model.commits.add(head, Files::new(), vec![]);
    model.branches.insert("main".into(), ModelBranch { head, visible: Files::new() });
    let rng = Arc::new(Seeded::new(seed ^ 0x5eed));
    let mut run = Run { world, engine, model, rng, keys: keys(), step: 0 };
    for step in 0..steps {
        run.one().await;
        if step % 5 == 0 {
            run.check().await;
        }
    }
    run.engine = run.world.open().await;
    run.check().await;
}

/// `MILLPOND_SEEDS=first..last` runs more.
#[allow(clippy::disallowed_methods)]
fn seeds() -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("MILLPOND_SEEDS") else { return 0..24 };
    let (first, last) = text.split_once("..").expect("MILLPOND_SEEDS is first..last");
    first.parse().unwrap()..last.parse().unwrap()
}

#[tokio::test]
async fn random_histories_agree_with_the_model() {
    for seed in seeds() {
        eprintln!("seed {seed}");
        history(seed, 150).await;
    }
}
