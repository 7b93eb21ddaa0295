//! Asks a restarted server about everything a client owns and compares it with the client's ledger.

use super::state::{Content, Facts, Operation, Tree, shown};
use super::verdict::{Verdict, judge};
use super::worker::{CommitRecord, REPOSITORY, Worker, describe};
use crate::chance::Chance;
use crate::site::{Site, element, encode};
use crate::wire::{Answer, Connection};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::rc::Rc;

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Acknowledged things that are not as they must be.
    pub lost: Vec<String>,
    /// Operations of which only a part shows.
    pub partial: Vec<String>,
    /// Objects whose bytes were read and hashed.
    pub objects_read: u64,
    /// Bytes of those.
    pub bytes_read: u64,
    /// Commits whose record and whole listing were compared.
    pub commits_read: u64,
    /// Unanswered operations that had taken effect.
    pub took_effect: u64,
    /// Unanswered operations that had not.
    pub no_effect: u64,
}

impl Findings {
    /// Adds another client's.
    pub fn add(&mut self, other: Self) {
        self.lost.extend(other.lost);
        self.partial.extend(other.partial);
        self.objects_read += other.objects_read;
        self.bytes_read += other.bytes_read;
        self.commits_read += other.commits_read;
        self.took_effect += other.took_effect;
        self.no_effect += other.no_effect;
    }
}

/// How much to read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What the round touched, and a sample of the rest.
    Sample,
    /// Every object and every commit.
    Everything,
}

/// Checks one client, settles whether its unanswered operation happened, and leaves the model as the server is.
pub async fn check(site: &Site, worker: &mut Worker, depth: Depth, chance: &mut Chance) -> Result<Findings> {
    let mut server = Asking { site, connection: Connection::new(site.address) };
    let mut findings = Findings::default();
    let seen = server.facts(worker).await.with_context(|| format!("ask about client {}", worker.name))?;
    settle(worker, &seen, &mut findings);
    if findings.lost.is_empty() && findings.partial.is_empty() {
        server.read_objects(worker, depth, chance, &mut findings).await?;
    }
    server.read_commits(worker, depth, chance, &mut findings).await?;
    Ok(findings)
}

fn settle(worker: &mut Worker, seen: &Facts, findings: &mut Findings) {
    let pending = worker.pending.take();
    let before = worker.state.facts();
    // The id that an unanswered commit got is known only from the head it left.
    let made = match &pending {
        Some(Operation::Commit { branch, .. }) => seen
            .get(&format!("branch {branch}"))
            .filter(|head| before.get(&format!("branch {branch}")) != Some(head))
            .cloned(),
        _ => None,
    }
    .unwrap_or_default();
    let after = pending.as_ref().and_then(|operation| match operation {
        // An upload whose id nobody learnt is invisible.
        Operation::StartUpload { .. } => None,
        Operation::Commit { .. } if made.is_empty() => None,
        _ => {
            let mut state = worker.state.clone();
            state.apply(operation, &made);
            Some(state.facts())
        }
    });
    let unanswered = pending.as_ref().map_or_else(|| "nothing".to_owned(), describe);
    let tell =
        |details: Vec<String>| format!("{}, unanswered {unanswered}: {}", worker.name, details.join("; "));
    match judge(&before, after.as_ref(), seen) {
        Verdict::Before => findings.no_effect += u64::from(pending.is_some()),
        Verdict::After => {
            findings.took_effect += 1;
            if let Some(operation) = &pending {
                worker.take_effect(operation, &made);
            }
        }
        Verdict::Partial(details) => findings.partial.push(tell(details)),
        Verdict::Lost(details) => findings.lost.push(tell(details)),
    }
}

struct Asking<'a> {
    site: &'a Site,
    connection: Connection,
}

impl Asking<'_> {
    async fn get(&mut self, target: &str) -> Result<Answer> {
        let request = self.site.api("GET", &format!("/repositories/{REPOSITORY}{target}"), None);
        self.connection.exchange(&request).await.with_context(|| format!("GET {target}"))
    }

    async fn results(&mut self, target: &str) -> Result<Vec<Value>> {
        let answer = self.get(target).await?.success().with_context(|| format!("GET {target}"))?.json()?;
        ensure!(answer["pagination"]["has_more"].as_bool() == Some(false), "GET {target} has a second page");
        Ok(answer["results"].as_array().context("no results")?.clone())
    }

    /// Everything the client owns, as the server shows it.
    async fn facts(&mut self, worker: &Worker) -> Result<Facts> {
        let mut facts = Facts::new();
        for branch in self.results(&format!("/branches?amount=1000&prefix={}-", worker.name)).await? {
            let (name, head) = (text(&branch, "id")?, text(&branch, "commit_id")?);
            self.list(&name, "", &format!("of {name}"), &mut facts).await?;
            facts.insert(format!("branch {name}"), head);
        }
        for tag in self.results(&format!("/tags?amount=1000&prefix={}-", worker.name)).await? {
            facts.insert(format!("tag {}", text(&tag, "id")?), text(&tag, "commit_id")?);
        }
        self.list("main", &format!("{}/", worker.name), "of main", &mut facts).await?;
        if let Some(upload) = &worker.state.upload {
            let path = format!("{REPOSITORY}/{}/{}", worker.work_branch(), upload.key);
            let answer = self
                .connection
                .exchange(&self.site.s3("GET", &path, &[("uploadId", &upload.id)], &[]))
                .await?;
            if answer.status != 404 {
                let body = String::from_utf8(answer.success().context("list parts")?.body)?;
                facts.insert(format!("upload {}", upload.id), "open".into());
                for part in body.split("<Part>").skip(1) {
                    let number = element(part, "PartNumber").context("a part without number")?;
                    let etag = element(part, "ETag").context("a part without ETag")?.replace("&quot;", "\"");
                    facts.insert(
                        format!("part {number} of upload {}", upload.id),
                        etag.trim_matches('"').to_owned(),
                    );
                }
            }
        }
        Ok(facts)
    }

    async fn list(&mut self, reference: &str, prefix: &str, of: &str, into: &mut Facts) -> Result<()> {
        for object in self
            .results(&format!("/refs/{reference}/objects/ls?amount=1000&prefix={}", encode(prefix, false)))
            .await?
        {
            let bytes = object["size_bytes"].as_u64().context("an object without size")?;
            into.insert(
                format!("object {} {of}", text(&object, "path")?),
                shown(bytes, &text(&object, "checksum")?),
            );
        }
        Ok(())
    }

    /// Reads bytes: of what the round wrote or deleted always, of the rest as `depth` says.
    async fn read_objects(
        &mut self,
        worker: &Worker,
        depth: Depth,
        chance: &mut Chance,
        findings: &mut Findings,
    ) -> Result<()> {
        for (branch, key) in
            worker.touched.iter().filter(|(branch, _)| worker.state.branches.contains_key(branch))
        {
            if !worker.state.branches.get(branch).is_some_and(|found| found.view.contains_key(key)) {
                let path = format!("{REPOSITORY}/{branch}/{key}");
                let answer = self.connection.exchange(&self.site.s3("HEAD", &path, &[], &[])).await?;
                if answer.status != 404 {
                    findings.lost.push(format!(
                        "{}: {branch}/{key} is deleted but answers {}",
                        worker.name, answer.status
                    ));
                }
            }
        }
        let trees = worker.state.branches.iter().map(|(name, branch)| (name.as_str(), &branch.view));
        for (branch, tree) in trees.chain([("main", &worker.state.merged)]) {
            for (key, content) in tree {
                let rarely = if content.bytes > 1 << 20 { 16 } else { 4 };
                let chosen = depth == Depth::Everything
                    || worker.touched.contains(&(branch.to_owned(), key.clone()))
                    || chance.one_in(rarely);
                if chosen {
                    self.read(&worker.name, branch, key, content, findings).await?;
                }
            }
        }
        Ok(())
    }

    async fn read(
        &mut self,
        client: &str,
        reference: &str,
        key: &str,
        content: &Content,
        findings: &mut Findings,
    ) -> Result<()> {
        let request = self.site.s3("GET", &format!("{REPOSITORY}/{reference}/{key}"), &[], &[]);
        let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
        let answer = self
            .connection
            .exchange_with(&request, |piece| {
                hash.update(piece);
                bytes += piece.len() as u64;
            })
            .await;
        findings.objects_read += 1;
        findings.bytes_read += bytes;
        let hash: [u8; 32] = hash.finalize().into();
        match answer {
            Ok(answer) if answer.status == 200 && hash == content.sha256 && bytes == content.bytes => {}
            Ok(answer) => findings.lost.push(format!(
                "{client}: {reference}/{key} answers {} with {bytes} bytes of SHA-256 {}, must be {} bytes of {}",
                answer.status,
                hex::encode(hash),
                content.bytes,
                hex::encode(content.sha256)
            )),
            Err(error) => findings.lost.push(format!("{client}: {reference}/{key} cannot be read: {error:#}")),
        }
        Ok(())
    }

    /// Compares commits with the ledger: those of the round, and some or all of the older ones.
    async fn read_commits(
        &mut self,
        worker: &Worker,
        depth: Depth,
        chance: &mut Chance,
        findings: &mut Findings,
    ) -> Result<()> {
        let mut chosen: BTreeSet<&String> = worker.new_commits.iter().collect();
        if depth == Depth::Everything {
            chosen.extend(worker.commits.keys());
        } else if !worker.commits.is_empty() {
            for _ in 0..3 {
                chosen.extend(worker.commits.keys().nth(chance.below(worker.commits.len() as u64) as usize));
            }
        }
        for id in chosen {
            let Some(record) = worker.commits.get(id).map(Rc::clone) else { continue };
            findings.commits_read += 1;
            if let Err(error) = self.read_commit(worker, id, &record).await {
                findings.lost.push(format!("{}: commit {id}: {error:#}", worker.name));
                continue;
            }
            let one = chance.below(record.tree.len().max(1) as u64) as usize;
            if let Some((key, content)) = record.tree.iter().nth(one) {
                self.read(&worker.name, id, key, content, findings).await?;
            }
        }
        Ok(())
    }

    async fn read_commit(&mut self, worker: &Worker, id: &str, record: &CommitRecord) -> Result<()> {
        let commit = self.get(&format!("/commits/{id}")).await?.success()?.json()?;
        ensure!(text(&commit, "message")? == record.message, "its message is {}", commit["message"]);
        let parents = commit["parents"].as_array().context("no parents")?;
        let last = parents.last().and_then(Value::as_str);
        ensure!(
            parents.len() == record.parents && last == Some(&*record.last_parent),
            "its parents are {parents:?}, must be {} and end with {}",
            record.parents,
            record.last_parent
        );
        let mut seen = Facts::new();
        let prefix = if record.parents == 1 { String::new() } else { format!("{}/", worker.name) };
        self.list(id, &prefix, "", &mut seen).await?;
        let must = tree_facts(&record.tree);
        ensure!(seen == must, "its objects are {seen:?}, must be {must:?}");
        Ok(())
    }
}

fn tree_facts(tree: &Tree) -> Facts {
    tree.iter()
        .map(|(key, content)| (format!("object {key} "), shown(content.bytes, &content.etag)))
        .collect()
}

/// Every acknowledged merge must be in the first-parent history of `main` since the head before the round.
/// Returns the present head.
pub async fn check_main(
    site: &Site,
    since: &str,
    merges: &BTreeSet<String>,
    findings: &mut Findings,
) -> Result<String> {
    let mut server = Asking { site, connection: Connection::new(site.address) };
    let head = text(&server.get("/branches/main").await?.success()?.json()?, "commit_id")?;
    let (mut missing, mut after, mut reached) = (merges.clone(), String::new(), false);
    while !reached {
        let page = server
            .get(&format!("/refs/main/commits?first_parent=true&amount=1000&after={after}"))
            .await?
            .success()
            .context("log of main")?
            .json()?;
        for commit in page["results"].as_array().context("no results")? {
            let id = text(commit, "id")?;
            missing.remove(&id);
            reached |= id == since;
            after = id;
        }
        if page["pagination"]["has_more"].as_bool() != Some(true) {
            break;
        }
    }
    if !reached {
        findings.lost.push(format!("main: its old head {since} is not in the history of {head}"));
    }
    findings
        .lost
        .extend(missing.iter().map(|id| format!("main: the acknowledged merge {id} is not in its history")));
    Ok(head)
}

fn text(json: &Value, field: &str) -> Result<String> {
    Ok(json[field].as_str().with_context(|| format!("no {field} in {json}"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> (Worker, Operation) {
        let worker = Worker::new(1, 1, "c0");
        let operation = Operation::Commit { branch: worker.work_branch(), message: "m".into() };
        (worker, operation)
    }

    #[test]
    fn an_unanswered_commit_is_found_by_the_head_it_left() {
        let (mut worker, commit) = committed();
        worker.pending = Some(commit);
        let mut seen = worker.state.facts();
        seen.insert("branch c01-work".into(), "c1".into());
        let mut findings = Findings::default();
        settle(&mut worker, &seen, &mut findings);
        assert_eq!((findings.took_effect, findings.lost.len()), (1, 0));
        assert_eq!(worker.commits["c1"].last_parent, "c0");
        assert_eq!(worker.state.facts(), seen);
    }

    #[test]
    fn an_unanswered_commit_that_did_not_happen_leaves_everything() {
        let (mut worker, commit) = committed();
        worker.pending = Some(commit);
        let seen = worker.state.facts();
        let mut findings = Findings::default();
        settle(&mut worker, &seen, &mut findings);
        assert_eq!((findings.no_effect, worker.commits.len()), (1, 0));
    }

    #[test]
    fn a_head_that_moved_without_a_commit_is_lost() {
        let (mut worker, _) = committed();
        let mut seen = worker.state.facts();
        seen.insert("branch c01-work".into(), "c1".into());
        let mut findings = Findings::default();
        settle(&mut worker, &seen, &mut findings);
        assert_eq!(findings.lost.len(), 1);
    }
}
