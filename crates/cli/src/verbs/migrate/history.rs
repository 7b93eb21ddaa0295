//! Which commits there are, parents first.

use super::Route;
use super::source::every_page;
use millpond_client::{Commit, Error, LogQuery, PageQuery, Ref};
use std::collections::{HashMap, HashSet};

/// What branches and tags of a repository lead to.
#[derive(Default)]
pub struct History {
    /// By id.
    pub commits: HashMap<String, Commit>,
    /// Ids, each after those of its parents.
    pub order: Vec<String>,
    /// Branches, and whether listings leave them out.
    pub branches: Vec<(Ref, bool)>,
    /// Tags.
    pub tags: Vec<Ref>,
}

/// Reads all of it. Commits that neither branch nor tag leads to are not found: the API has no list of them.
pub async fn read(route: &Route, repository: &str) -> Result<History, Error> {
    let mut history = History::default();
    let from = &route.from;
    let mut shown = HashSet::new();
    let list = async |query: PageQuery| from.list_branches(repository, &query, false).await;
    every_page(route.patience, "", list, |branch: Ref| {
        shown.insert(branch.id);
    })
    .await?;
    let list = async |query: PageQuery| from.list_branches(repository, &query, true).await;
    every_page(route.patience, "", list, |branch: Ref| {
        let hidden = !shown.contains(&branch.id);
        history.branches.push((branch, hidden));
    })
    .await?;
    let list = async |query: PageQuery| from.list_tags(repository, &query).await;
    every_page(route.patience, "", list, |tag| history.tags.push(tag)).await?;

    let heads = history.branches.iter().map(|(branch, _)| branch).chain(&history.tags);
    let heads: Vec<String> = heads.map(|head| head.commit_id.clone()).collect();
    for head in &heads {
        read_log(route, repository, head, &mut history.commits).await?;
    }
    history.order = parents_first(&heads, &history.commits);
    Ok(history)
}

/// The commits that `head` leads to and that are not known: pages of its log, until nothing is left to be found.
async fn read_log(
    route: &Route,
    repository: &str,
    head: &str,
    commits: &mut HashMap<String, Commit>,
) -> Result<(), Error> {
    let mut wanted: HashSet<String> = HashSet::new();
    if !commits.contains_key(head) {
        wanted.insert(head.to_owned());
    }
    let mut query = LogQuery { page: PageQuery::prefix(""), ..LogQuery::default() };
    while !wanted.is_empty() {
        let page = route.patience.wait(async || route.from.log(repository, head, &query).await).await?;
        let next = page.next().map(ToOwned::to_owned);
        for mut commit in page.results {
            if commit.version == Some(0) && commit.parents.len() > 1 {
                // Such merges name the branch that was merged into last (API-12.9).
                commit.parents.reverse();
            }
            wanted.remove(&commit.id);
            if !commits.contains_key(&commit.id) {
                let unknown = commit.parents.iter().filter(|parent| !commits.contains_key(*parent));
                wanted.extend(unknown.cloned());
                commits.insert(commit.id.clone(), commit);
            }
        }
        match next {
            Some(next) => query.page.after = next,
            None => break,
        }
    }
    // A log that passes over commits, as one that is cut: each is asked for by itself.
    while let Some(id) = wanted.iter().next().cloned() {
        wanted.remove(&id);
        let commit = route.patience.wait(async || route.from.get_commit(repository, &id).await).await?;
        wanted.extend(commit.parents.iter().filter(|parent| !commits.contains_key(*parent)).cloned());
        commits.insert(commit.id.clone(), commit);
    }
    Ok(())
}

/// Every commit that a head leads to, after its parents. The same history gives the same order.
fn parents_first(heads: &[String], commits: &HashMap<String, Commit>) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for head in heads {
        let Some((head, _)) = commits.get_key_value(head) else { continue };
        // A commit and how many of its parents were seen to.
        let mut path: Vec<(&str, usize)> = Vec::new();
        if seen.insert(head) {
            path.push((head, 0));
        }
        while let Some((id, parent)) = path.last_mut() {
            let parents = commits.get(*id).map(|commit| commit.parents.as_slice()).unwrap_or_default();
            match parents.get(*parent) {
                Some(next) => {
                    *parent += 1;
                    if commits.contains_key(next) && seen.insert(next) {
                        path.push((next, 0));
                    }
                }
                None => {
                    order.push((*id).to_owned());
                    path.pop();
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(id: &str, parents: &[&str]) -> (String, Commit) {
        let commit = Commit {
            id: id.to_owned(),
            parents: parents.iter().map(|id| (*id).to_owned()).collect(),
            committer: String::new(),
            message: String::new(),
            creation_date: 0,
            meta_range_id: String::new(),
            metadata: Default::default(),
            generation: None,
            version: None,
        };
        (id.to_owned(), commit)
    }

    #[test]
    fn parents_come_before_their_children() {
        // r - a - b - m    m merges c; x stands alone
        //      \- c -/
        let commits = HashMap::from([
            commit("m", &["b", "c"]),
            commit("b", &["a"]),
            commit("c", &["a"]),
            commit("a", &["r"]),
            commit("r", &[]),
            commit("x", &[]),
            commit("unreached", &["r"]),
        ]);
        let heads = ["m", "c", "x"].map(str::to_owned);
        assert_eq!(parents_first(&heads, &commits), ["r", "a", "b", "c", "m", "x"]);
        let long: HashMap<_, _> = (0..100_000u32)
            .map(|n| {
                let parent = n.checked_sub(1).map(|n| n.to_string());
                commit(&n.to_string(), &parent.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let order = parents_first(&["99999".to_owned()], &long);
        assert_eq!((order.len(), &*order[0], &*order[99_999]), (100_000, "0", "99999"));
    }
}
