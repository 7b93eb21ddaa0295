//! The rows of `reliability.md` 1.1, 1.2 and 1.9: what went wrong on a running server of our kind, as tests of
//! ours. A row that needs hooks (33 and 34 partly) is tested as far as there are any.

use crate::history::on_stage;
use anyhow::Result;
use futures::future::{join_all, try_join_all};
use millpond_bench::site::{Payload, Site, md5_of};
use millpond_bench::wire::{Answer, Request};
use millpond_history::check::check;
use millpond_history::client::{Client, Record};
use millpond_history::episode::{REPOSITORY, Scene, own_prefix};
use millpond_history::event::{Content, Expected};
use serde_json::{Value, json};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// Runs others again and again until the work is done.
async fn during<W: Future<Output = Result<()>>>(work: W, others: &[&dyn AgainAndAgain]) {
    let busy = Cell::new(true);
    let work = async {
        let outcome = work.await;
        busy.set(false);
        outcome
    };
    let others = join_all(others.iter().map(|other| other.run(&busy)));
    let (outcome, others) = futures::future::join(work, others).await;
    outcome.expect("the work is done");
    others.into_iter().collect::<Result<Vec<()>>>().expect("the others went on");
}

/// Something that goes on while others work.
trait AgainAndAgain {
    fn run<'a>(&'a self, busy: &'a Cell<bool>) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>>;
}

/// Commits without a pause.
struct Committer(RefCell<Client>);

impl AgainAndAgain for Committer {
    #[allow(clippy::await_holding_refcell_ref, reason = "nobody else borrows it")]
    fn run<'a>(&'a self, busy: &'a Cell<bool>) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async {
            let mut client = self.0.borrow_mut();
            let mut number = 0;
            while busy.get() {
                number += 1;
                let message = format!("again-{}-{number}", client.number);
                client.commit(&message, false).await?;
            }
            Ok(())
        })
    }
}

/// Lists without a pause, in one page and in many.
struct Lister(RefCell<Client>);

impl AgainAndAgain for Lister {
    #[allow(clippy::await_holding_refcell_ref, reason = "nobody else borrows it")]
    fn run<'a>(&'a self, busy: &'a Cell<bool>) -> std::pin::Pin<Box<dyn Future<Output = Result<()>> + 'a>> {
        Box::pin(async {
            let mut client = self.0.borrow_mut();
            while busy.get() {
                client.list().await;
            }
            Ok(())
        })
    }
}

fn committer(scene: &Scene) -> Committer {
    Committer(RefCell::new(scene.client(50, 50)))
}

fn lister(scene: &Scene, number: usize) -> Lister {
    Lister(RefCell::new(scene.client(number, 7)))
}

/// Every promise was kept; returns what remains of the scene.
async fn judged(scene: Scene, owners: usize) {
    let record = scene.record.clone();
    let history = scene.history(owners).await.expect("the branch can be read");
    let stories: Vec<String> =
        check(&history).into_iter().map(|found| format!("{}: {}", found.rule, found.story)).collect();
    assert!(stories.is_empty(), "{}", stories.join("\n"));
    assert!(record.unexpected.borrow().is_empty(), "{}", record.unexpected.borrow().join("\n"));
}

/// Uncommitted changes of the scene's branch.
async fn uncommitted(scene: &Scene) -> Vec<String> {
    let target = scene.record.below(&format!("/branches/{}/diff?amount=1000", scene.record.branch));
    let page = scene.client(60, 0).fetch(&target).await.expect("a diff");
    let paths = page["results"].as_array().expect("results").iter();
    paths.map(|item| item["path"].as_str().unwrap_or_default().to_owned()).collect()
}

fn clients(scene: &Scene, count: usize) -> Vec<Client> {
    (0..count).map(|number| scene.client(number, 3)).collect()
}

#[test]
fn row_9_concurrent_writers_and_committers_get_no_errors() {
    on_stage(async |stage| {
        let scene = stage.open("row-9").await.expect("a branch");
        let mut sixteen = clients(&scene, 16);
        let work = sixteen.iter_mut().map(async |client| {
            for round in 0..8 {
                client.put("shared/one-key", Expected::Anything, false).await?;
                client.commit(&format!("c{}-{round}", client.number), false).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(work).await.expect("every request is answered");
        judged(scene, 0).await;
    });
}

#[test]
fn row_10_of_many_creations_of_a_branch_one_is_made() {
    on_stage(async |stage| {
        let scene = stage.open("row-10").await.expect("a branch");
        for round in 0..10 {
            let body = json!({"name": format!("contested-{round}"), "source": "main"});
            let request = scene.record.site.api("POST", &scene.record.below("/branches"), Some(&body));
            let mut eight = clients(&scene, 8);
            let answers = try_join_all(eight.iter_mut().map(|client| client.send(&request))).await;
            let mut statuses: Vec<u16> = answers.expect("answers").iter().map(|a| a.status).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
        }
    });
}

#[test]
fn row_12_no_changes_is_only_said_when_there_are_none() {
    on_stage(async |stage| {
        let scene = stage.open("row-12").await.expect("a branch");
        let mut eight = clients(&scene, 8);
        let work = eight.iter_mut().map(async |client| {
            let key = format!("{}k", own_prefix(client.number));
            for round in 0..10 {
                client.put(&key, Expected::Anything, false).await?;
                client.commit(&format!("c{}-{round}", client.number), false).await?;
            }
            anyhow::Ok(())
        });
        try_join_all(work).await.expect("every request is answered");
        assert!(uncommitted(&scene).await.is_empty(), "whoever wrote has committed since");
        judged(scene, 8).await;
    });
}

#[test]
fn row_13_a_commit_killed_in_the_middle_leaves_nothing_behind() {
    on_stage(async |stage| {
        let scene = stage.open("row-13").await.expect("a branch");
        let record = scene.record.clone();
        for round in 0..4 {
            let mut writers = clients(&scene, 4);
            let work = try_join_all(writers.iter_mut().map(async |client| {
                let own = own_prefix(client.number);
                for number in 0..6 {
                    client.put(&format!("{own}{number}"), Expected::Anything, false).await?;
                    client.commit(&format!("c{}-{round}-{number}", client.number), false).await?;
                }
                anyhow::Ok(())
            }));
            let kill = async {
                let before = record.done.get();
                while record.done.get() < before + 10 {
                    tokio::task::yield_now().await;
                }
                stage.kill_and_restart(&record).await
            };
            let (worked, killed) = futures::future::join(work, kill).await;
            worked.expect("every request is answered in the end");
            killed.expect("the server comes back");
            scene.client(9, 0).commit(&format!("last-{round}"), false).await.expect("a commit");
            assert!(uncommitted(&scene).await.is_empty(), "round {round}");
        }
        judged(scene, 4).await;
    });
}

#[test]
fn row_29_a_write_racing_a_commit_is_committed_once() {
    on_stage(async |stage| {
        let scene = stage.open("row-29").await.expect("a branch");
        let mut writers = clients(&scene, 6);
        let work = async {
            let writes = writers.iter_mut().map(async |client| {
                let own = own_prefix(client.number);
                for round in 0..25 {
                    let key = format!("{own}{}", round % 3);
                    client.put(&key, Expected::Anything, false).await?;
                    client.delete(&[key], false).await?;
                }
                anyhow::Ok(())
            });
            try_join_all(writes).await.map(drop)
        };
        during(work, &[&committer(&scene)]).await;
        // Everything was deleted; what a commit had taken is deleted by the next.
        scene.client(9, 0).commit("last", false).await.expect("a commit");
        assert!(uncommitted(&scene).await.is_empty(), "nothing committed shows as a change again");
        let history = scene.history(6).await.expect("the branch can be read");
        assert_eq!(history.chain.last().map(|link| link.content.len()), Some(0), "no deleted key came back");
        let stories: Vec<String> = check(&history).into_iter().map(|found| found.story).collect();
        assert!(stories.is_empty(), "{}", stories.join("\n"));
    });
}

#[test]
fn row_30_a_condition_fails_only_if_it_does_not_hold_and_one_contender_wins() {
    on_stage(async |stage| {
        let scene = stage.open("row-30").await.expect("a branch");
        let mut eight = clients(&scene, 8);
        let work = async {
            for round in 0..12 {
                let lone = eight.iter_mut().map(async |client| {
                    let key = format!("lone/{}-{round}", client.number);
                    client.put(&key, Expected::Nothing, false).await
                });
                let made = try_join_all(lone).await?;
                assert!(made.iter().all(Option::is_some), "nobody else creates these: {made:?}");
                let key = format!("contest/{round}");
                let contest = eight.iter_mut().map(|client| client.put(&key, Expected::Nothing, false));
                let made: Vec<u64> = try_join_all(contest).await?.into_iter().flatten().collect();
                let [winner] = made[..] else { panic!("{} contenders won", made.len()) };
                let swaps = eight.iter_mut().map(|client| client.put(&key, Expected::Exactly(winner), false));
                let swapped = try_join_all(swaps).await?.into_iter().flatten().count();
                assert_eq!(swapped, 1, "one contender replaces what it saw");
            }
            Ok(())
        };
        during(work, &[&committer(&scene)]).await;
        judged(scene, 0).await;
    });
}

#[test]
fn row_31_an_acknowledged_change_is_in_every_later_read() {
    on_stage(async |stage| {
        let scene = stage.open("row-31").await.expect("a branch");
        let mut writers = clients(&scene, 4);
        let work = async {
            let writes = writers.iter_mut().map(async |client| {
                let own = own_prefix(client.number);
                for round in 0..20 {
                    let key = format!("{own}{}", round % 5);
                    client.put(&key, Expected::Anything, false).await?;
                    assert!(client.get(&key).await.is_some(), "it reads its own write");
                    if round % 3 == 0 {
                        client.delete(std::slice::from_ref(&key), false).await?;
                        assert_eq!(client.get(&key).await, None, "it reads its own delete");
                    }
                }
                anyhow::Ok(())
            });
            try_join_all(writes).await.map(drop)
        };
        during(work, &[&committer(&scene), &lister(&scene, 51), &lister(&scene, 52)]).await;
        judged(scene, 4).await;
    });
}

#[test]
fn row_32_a_listing_in_pages_is_of_one_state_and_skips_and_repeats_nothing() {
    on_stage(async |stage| {
        let scene = stage.open("row-32").await.expect("a branch");
        let mut stable = Vec::new();
        for number in 0..30 {
            let key = format!("stable/{number:02}");
            scene.client(9, 0).put(&key, Expected::Anything, false).await.expect("written");
            stable.push(key);
        }
        let mut writers = clients(&scene, 3);
        let busy = Cell::new(true);
        let write = async {
            let writes = writers.iter_mut().map(async |client| {
                let own = own_prefix(client.number);
                let mut round = 0;
                while busy.get() {
                    round += 1;
                    // Before, between and behind the keys that stay.
                    let key = [format!("{own}{}", round % 9), format!("stable/{:02}x", round % 29)];
                    client.put(&key[0], Expected::Anything, false).await?;
                    client.put(&key[1], Expected::Anything, false).await?;
                    client.delete(&[key[round % 2].clone()], false).await?;
                }
                anyhow::Ok(())
            });
            try_join_all(writes).await.map(drop)
        };
        let read = async {
            let mut client = scene.client(51, 0);
            for _ in 0..12 {
                client.list_as(true).await.expect("a listing in pages");
                // `after` reads the branch as it is now: what does not change is there once.
                let (mut seen, mut after) = (Vec::new(), String::new());
                loop {
                    let branch = &scene.record.branch;
                    let rest = format!("/refs/{branch}/objects/ls?prefix=stable/&amount=4&after={after}");
                    let page = client.fetch(&scene.record.below(&rest)).await.expect("a page");
                    let paths = page["results"].as_array().expect("results").iter();
                    seen.extend(paths.map(|item| item["path"].as_str().unwrap_or_default().to_owned()));
                    if page["pagination"]["has_more"] != true {
                        break;
                    }
                    after = page["pagination"]["next_offset"].as_str().expect("an offset").to_owned();
                }
                seen.retain(|key| !key.ends_with('x'));
                assert_eq!(seen, stable);
            }
            busy.set(false);
        };
        let (wrote, ()) = futures::future::join(write, read).await;
        wrote.expect("every request is answered");
        judged(scene, 3).await;
    });
}

#[test]
fn row_33_a_commit_and_the_deletion_of_its_branch_know_of_each_other() {
    on_stage(async |stage| {
        let mut both = 0;
        for round in 0..20 {
            let scene = stage.open(&format!("row-33-{round}")).await.expect("a branch");
            let branch = scene.record.branch.clone();
            let [mut one, mut other] = [scene.client(0, 0), scene.client(1, 0)];
            one.put("k", Expected::Anything, false).await.expect("written");
            let (commits, itself) = (format!("/branches/{branch}/commits"), format!("/branches/{branch}"));
            let commit = scene.record.site.api(
                "POST",
                &scene.record.below(&commits),
                Some(&json!({"message": "late"})),
            );
            let delete = scene.record.site.api("DELETE", &scene.record.below(&itself), None);
            // Both orders of sending.
            let (committed, deleted) = if round % 2 == 0 {
                futures::future::join(one.send(&commit), other.send(&delete)).await
            } else {
                let (deleted, committed) =
                    futures::future::join(other.send(&delete), one.send(&commit)).await;
                (committed, deleted)
            };
            let (committed, deleted) = (committed.expect("an answer"), deleted.expect("an answer"));
            assert_eq!(deleted.status, 204);
            if committed.status == 404 {
                continue;
            }
            assert_eq!(committed.status, 201, "{}", committed.excerpt());
            both += 1;
            let id = committed.json().expect("JSON")["id"].as_str().expect("an id").to_owned();
            // The deletion took a branch with this commit, says so, and can be undone.
            let path = format!("/api/millpond/v1/repositories/{REPOSITORY}/branches/{branch}/undo");
            let undo = scene.record.site.http("POST", &path, "application/json", Default::default());
            let undone = one.send(&undo).await.expect("an answer").success().expect("undone");
            assert_eq!(undone.json().expect("JSON")["undone"]["old"], id.as_str());
            let head = one.fetch(&scene.record.below(&itself)).await.expect("the branch is back");
            assert_eq!(head["commit_id"], id.as_str());
        }
        eprintln!("{both} of 20 commits came before the deletion");
    });
}

#[test]
fn row_34_a_commit_is_what_it_was_when_it_was_answered() {
    on_stage(async |stage| {
        let scene = stage.open("row-34").await.expect("a branch");
        let mut writers = clients(&scene, 4);
        let first_seen = RefCell::new(Vec::new());
        let busy = Cell::new(true);
        let write = async {
            let writes = writers.iter_mut().map(async |client| {
                let own = own_prefix(client.number);
                while busy.get() {
                    client.put(&format!("{own}a"), Expected::Anything, false).await?;
                    client.put(&format!("{own}b"), Expected::Anything, false).await?;
                }
                anyhow::Ok(())
            });
            try_join_all(writes).await.map(drop)
        };
        let commit = async {
            let mut client = scene.client(50, 0);
            for number in 0..25 {
                client.commit(&format!("c{number}"), false).await.expect("a commit");
                let id = client.head().await.expect("a head");
                let target = scene.record.below(&format!("/refs/{id}/objects/ls?amount=1000"));
                let page = client.fetch(&target).await.expect("a page");
                first_seen.borrow_mut().push((id, scene.record.content_of_page(&page)));
            }
            busy.set(false);
        };
        let (wrote, ()) = futures::future::join(write, commit).await;
        wrote.expect("every request is answered");
        let mut reader = scene.client(51, 0);
        for (id, before) in first_seen.into_inner() {
            let target = scene.record.below(&format!("/refs/{id}/objects/ls?amount=1000"));
            let page = reader.fetch(&target).await.expect("a page");
            assert_eq!(scene.record.content_of_page(&page), before, "commit {id}");
        }
        judged(scene, 4).await;
    });
}

#[test]
fn row_35_a_batch_delete_and_a_reset_are_in_a_commit_whole_or_not_at_all() {
    on_stage(async |stage| {
        let scene = stage.open("row-35").await.expect("a branch");
        let mut writers = clients(&scene, 3);
        let resets = Cell::new(0);
        let work = async {
            let deletes = writers.iter_mut().map(async |client| {
                let own = own_prefix(client.number);
                let group: Vec<String> = (0..6).map(|number| format!("{own}{number}")).collect();
                for _ in 0..6 {
                    for key in &group {
                        client.put(key, Expected::Anything, false).await?;
                    }
                    client.delete(&group, false).await?;
                }
                anyhow::Ok(())
            });
            let mut resetter = scene.client(9, 0);
            let reset = async {
                for round in 0..12 {
                    // In an order that a reset key by key would break up visibly.
                    for number in [1, 0, 2] {
                        resetter.put(&format!("reset/{round}/{number}"), Expected::Anything, false).await?;
                    }
                    let body = json!({"type": "common_prefix", "path": format!("reset/{round}/")});
                    let target = scene.record.below(&format!("/branches/{}", scene.record.branch));
                    resetter.prepare(|site| site.api("PUT", &target, Some(&body))).await?;
                    resets.set(resets.get() + 1);
                }
                anyhow::Ok(())
            };
            let (deleted, reset) = futures::future::join(try_join_all(deletes), reset).await;
            deleted?;
            reset
        };
        during(work, &[&committer(&scene)]).await;
        let mut history = scene.history(3).await.expect("the branch can be read");
        for link in &history.chain {
            for round in 0..resets.get() {
                let part: Vec<&str> = [0, 1, 2]
                    .iter()
                    .filter_map(|n| {
                        let (key, _) = link.content.get_key_value(&format!("reset/{round}/{n}"))?;
                        key.rsplit('/').next()
                    })
                    .collect();
                // Nothing, what was written so far, or all.
                let whole: &[&[&str]] = &[&[], &["1"], &["0", "1"], &["0", "1", "2"]];
                assert!(whole.contains(&&part[..]), "commit {} has {part:?} of round {round}", link.id);
            }
        }
        // The rules know of no resets: what they judge is the rest.
        history.operations.retain(|operation| operation.client != 9);
        let parts = history.chain.iter_mut().map(|link| &mut link.content);
        parts.for_each(|content| content.retain(|key, _| !key.starts_with("reset/")));
        for operation in &mut history.operations {
            if let millpond_history::event::Answer::Content(content) = &mut operation.answer {
                content.retain(|key, _| !key.starts_with("reset/"));
            }
        }
        let stories: Vec<String> = check(&history).into_iter().map(|found| found.story).collect();
        assert!(stories.is_empty(), "{}", stories.join("\n"));
    });
}

#[test]
fn row_36_object_and_entry_are_synced_before_the_answer() {
    if std::process::Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("syncs");
    let wrapper = ["strace", "--daemonize", "--follow-forks", "--seccomp-bpf", "--trace=fsync,fdatasync"];
    let mut wrapper: Vec<String> = wrapper.map(str::to_owned).to_vec();
    wrapper.extend([format!("--output={}", trace.display()), "--".to_owned()]);
    crate::history::on_stage_with(wrapper, async |stage| {
        let scene = stage.open("row-36").await.expect("a branch");
        let mut client = scene.client(0, 0);
        let syncs = || std::fs::read_to_string(&trace).expect("a trace").matches("= 0").count();
        for (name, size) in [("small", 100), ("large", 3 << 20)] {
            let body = bytes::Bytes::from(vec![b'x'; size]);
            let path = format!("{REPOSITORY}/row-36/{name}");
            let put = scene.record.site.s3_with("PUT", &path, &[], &[], Payload::Unsigned, body);
            let before = syncs();
            client.send(&put).await.expect("an answer").success().expect("written");
            // Of the bytes, and of the row that names them.
            assert!(syncs() >= before + 2, "{name}: {} syncs", syncs() - before);
        }
        let before = syncs();
        client.commit("c", false).await.expect("a commit");
        assert!(syncs() >= before + 2, "the nodes, and the row that names them");
    });
}

#[test]
fn row_38_bytes_that_are_not_what_the_client_meant_are_refused_and_leave_nothing() {
    on_stage(async |stage| {
        let scene = stage.open("row-38").await.expect("a branch");
        let mut client = scene.client(0, 0);
        let site = &scene.record.site;
        let body = bytes::Bytes::from_static(b"what the client meant");
        // Of other bytes of the same length.
        let wrong = [
            ("content-md5", "jPzyTtVCtIdZlj4Dl5JQgg=="),
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-crc32c", "AAAAAA=="),
            ("x-amz-checksum-sha1", "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            ("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ];
        let path = |name: &str| format!("{REPOSITORY}/row-38/{name}");
        let create = site.s3("POST", &path("parts"), &[("uploads", "")], &[]);
        let created = client.send(&create).await.expect("an answer");
        let text = String::from_utf8_lossy(&created.body).into_owned();
        let upload = millpond_bench::site::element(&text, "UploadId").expect("an upload").to_owned();
        for header in wrong {
            let put = |path: &str, query: &[(&str, &str)]| {
                site.s3_with("PUT", path, query, &[header], Payload::Unsigned, body.clone())
            };
            let answer = client.send(&put(&path(header.0), &[])).await.expect("an answer");
            assert_eq!(answer.status, 400, "{} {}", header.0, answer.excerpt());
            let query = [("partNumber", "1"), ("uploadId", upload.as_str())];
            let answer = client.send(&put(&path("parts"), &query)).await.expect("an answer");
            assert_eq!(answer.status, 400, "part, {} {}", header.0, answer.excerpt());
        }
        for payload in [Payload::Signed, Payload::SignedChunks, Payload::Trailer] {
            let mut put = site.s3_with("PUT", &path("changed"), &[], &[], payload, body.clone());
            let mut changed = put.body.to_vec();
            let at = changed.windows(5).position(|piece| piece == b"meant").expect("the content");
            changed[at] ^= 1;
            put.body = changed.into();
            let answer = client.send(&put).await.expect("an answer");
            assert!(matches!(answer.status, 400 | 403), "{payload:?} {}", answer.excerpt());
        }
        let parts = site.s3("GET", &path("parts"), &[("uploadId", upload.as_str())], &[]);
        let parts = client.send(&parts).await.expect("an answer").success().expect("parts");
        assert!(!parts.excerpt().contains("<Part>"), "{}", parts.excerpt());
        assert_eq!(client.list_as(false).await, Some(Content::new()));
    });
}

#[test]
fn row_39_a_client_that_is_silent_in_its_headers_is_cut_off() {
    on_stage(async |stage| {
        let address = stage.site().address;
        let silent = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).expect("connects");
            stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
            let begun = Instant::now();
            stream.write_all(b"GET /api/v1/config HTTP/1.1\r\nHost: a\r\nX-Slow: ").expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("the server ends the connection");
            begun.elapsed()
        });
        let took = silent.await.expect("it ends");
        assert!(took < Duration::from_secs(60), "{took:?}");
    });
}

/// The same for a body takes a minute, so it runs by hand; `server::body` tests it on a clock that is set.
#[test]
#[ignore = "takes a minute: cargo test -p millpond row_39 -- --ignored"]
fn row_39_a_client_that_is_silent_in_its_body_is_cut_off() {
    on_stage(async |stage| {
        let scene = stage.open("row-39").await.expect("a branch");
        let site = &scene.record.site;
        let path = format!("{REPOSITORY}/row-39/k");
        let mut put = site.s3_with("PUT", &path, &[], &[], Payload::Unsigned, vec![b'x'; 100].into());
        put.body.truncate(10);
        let begun = Instant::now();
        let answer = scene.client(0, 0).send(&put).await;
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status >= 400));
        assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
        assert_eq!(scene.client(1, 0).list_as(false).await, Some(Content::new()));
    });
}

/// One change of each verb: method, path below `/api/v1/repositories`, body.
const CHANGES: &[(&str, &str, &str)] = &[
    ("POST", "", r#"{"name":"other","storage_namespace":"local://other"}"#),
    ("POST", "/other/metadata", r#"{"metadata":{"owner":"ann"}}"#),
    ("DELETE", "/other/metadata", r#"{"keys":["owner"]}"#),
    ("DELETE", "/other", ""),
    ("POST", "/history/branches", r#"{"name":"dev","source":"main"}"#),
    ("POST", "/history/branches/dev/objects?path=a", "first"),
    ("POST", "/history/branches/dev/objects/copy?dest_path=b", r#"{"src_path":"a"}"#),
    ("PUT", "/history/branches/dev/objects/stat/user_metadata?path=b", r#"{"set":{"x":"1"}}"#),
    ("POST", "/history/branches/dev/commits", r#"{"message":"one"}"#),
    ("DELETE", "/history/branches/dev/objects?path=a", ""),
    ("POST", "/history/branches/dev/objects/delete", r#"{"paths":["b"]}"#),
    ("PUT", "/history/branches/dev", r#"{"type":"reset"}"#),
    ("POST", "/history/refs/dev/merge/main", r#"{"message":"merged"}"#),
    ("POST", "/history/tags", r#"{"id":"v1","ref":"main"}"#),
    ("POST", "/history/branches/dev/revert", r#"{"ref":"dev","parent_number":0}"#),
    ("POST", "/history/branches/dev/cherry-pick", r#"{"ref":"dev~1"}"#),
    ("PUT", "/history/branches/dev/hard_reset?ref=dev~1", ""),
    ("POST", "/api/millpond/v1/repositories/history/branches/dev/undo", ""),
    ("DELETE", "/history/tags/v1", ""),
    ("DELETE", "/history/branches/dev", ""),
];

fn change(site: &Site, number: usize) -> Request {
    let (method, path, body) = CHANGES[number];
    let path = match path.strip_prefix("/api/") {
        Some(_) => path.to_owned(),
        None => format!("/api/v1/repositories{path}"),
    };
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    site.http(method, &path, kind, body.into()).with_header("Idempotency-Key", &format!("change-{number}"))
}

/// All refs, moves and objects of the repository.
async fn everything(client: &mut Client, record: &Record) -> Vec<Value> {
    let mut all = vec![client.fetch("/repositories").await.expect("repositories")];
    for rest in ["/branches", "/tags", "/refs/main/objects/ls", "/refs/main/commits"] {
        all.push(client.fetch(&record.below(rest)).await.expect(rest));
    }
    let path = format!("/api/millpond/v1/repositories/{REPOSITORY}/oplog?amount=1000");
    let oplog = record.site.http("GET", &path, "", Default::default());
    all.push(client.send(&oplog).await.expect("an answer").success().expect("moves").json().expect("JSON"));
    all
}

#[test]
fn a_change_repeated_after_a_lost_reply_and_a_restart_gets_its_first_answer() {
    on_stage(async |stage| {
        let scene = stage.open("keys").await.expect("a branch");
        let record = scene.record.clone();
        let told = |answer: &Answer| (answer.status, String::from_utf8_lossy(&answer.body).into_owned());
        let mut first = Vec::new();
        for (number, (method, path, _)) in CHANGES.iter().enumerate() {
            let request = change(&record.site, number);
            // The reply of every second change is lost: the client learns the answer from the repetition.
            if number % 2 == 0 {
                stage.lose(millpond_history::proxy::Loss { requests_one_in: 0, replies_one_in: 1 });
                let lost = scene.client(1, 0).send(&request).await;
                assert!(lost.is_err(), "the reply was to get lost");
                stage.lose(Default::default());
            }
            let answer = scene.client(0, 0).send(&request).await.expect("an answer");
            assert!(answer.is_success(), "{method} {path}: {} {}", answer.status, answer.excerpt());
            first.push(told(&answer));
        }
        let mut client = scene.client(0, 0);
        let before = everything(&mut client, &record).await;
        stage.kill_and_restart(&record).await.expect("the server comes back");
        let mut client = scene.client(0, 0);
        for (number, first) in first.iter().enumerate() {
            let (method, path, _) = CHANGES[number];
            let again = client.send(&change(&record.site, number)).await.expect("an answer");
            assert_eq!(told(&again), *first, "{method} {path}");
        }
        assert_eq!(everything(&mut client, &record).await, before, "no change was made twice");
        // The key of one request is refused with another.
        let other = record.site.api("POST", &record.below("/tags"), Some(&json!({"id":"v2","ref":"main"})));
        let refused =
            client.send(&other.with_header("Idempotency-Key", "change-13")).await.expect("an answer");
        assert_eq!(refused.status, 422, "{}", refused.excerpt());
    });
}

#[test]
fn an_object_written_again_with_its_key_through_s3_is_written_once() {
    on_stage(async |stage| {
        let scene = stage.open("s3-keys").await.expect("a branch");
        let path = format!("{REPOSITORY}/s3-keys/k");
        let put = |body: &'static [u8]| {
            let request = scene.record.site.s3_with("PUT", &path, &[], &[], Payload::Signed, body.into());
            request.with_header("Idempotency-Key", "put-1")
        };
        stage.lose(millpond_history::proxy::Loss { requests_one_in: 0, replies_one_in: 1 });
        assert!(scene.client(0, 0).send(&put(b"1")).await.is_err(), "the reply was to get lost");
        stage.lose(Default::default());
        let mut client = scene.client(1, 0);
        client.delete(&["k".to_owned()], false).await.expect("deleted");
        stage.kill_and_restart(&scene.record).await.expect("the server comes back");
        let mut client = scene.client(1, 0);
        let again = client.send(&put(b"1")).await.expect("an answer").success().expect("the first answer");
        assert_eq!(again.header("etag"), Some(format!("\"{}\"", hex::encode(md5_of(b"1"))).as_str()));
        assert_eq!(client.get("k").await, None, "it was deleted since, and is not written again");
        assert_eq!(client.send(&put(b"2")).await.expect("an answer").status, 422);
    });
}
