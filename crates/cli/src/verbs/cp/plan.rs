//! From the command line to single transfers.
//!
//! The rules: a destination that is a folder (ends in `/`, is an existing folder, or a bare ref) takes the
//! sources under their own names; any other destination is the new name itself. With `-r`, the contents of
//! the one source folder go under the destination; of several sources each keeps its name there.

use super::unchanged;
use crate::exit::Exit;
use crate::failure::{Failure, InRepository};
use crate::local;
use crate::session::Session;
use crate::uri::{Location, ObjectUri};
use futures::stream::{self, Stream, StreamExt};
use millpond_client::{Client, ObjectQuery, ObjectStats, PageQuery};
use std::path::{Path, PathBuf};
use std::pin::Pin;

/// One thing to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transfer {
    pub source: Location,
    pub destination: Location,
    /// What is known of a remote source, or of what the destination of a local one holds.
    pub stats: Option<Box<ObjectStats>>,
    /// Bytes, where they are known.
    pub size_bytes: Option<u64>,
}

/// A transfer, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Planned {
    Transfer(Transfer),
    Problem { source: String, failure: Failure },
}

/// What to do, in the order in which it is found.
pub(super) struct Plan<'a> {
    pub transfers: Pin<Box<dyn Stream<Item = Planned> + 'a>>,
    /// Files and bytes, where they are known beforehand.
    pub total: Option<(u64, u64)>,
    /// Whether it was one file by name: its failure is then the failure of the verb.
    pub is_single: bool,
}

/// Checks that the parts fit together and finds what to copy. `compare`: finds out what the destination of a
/// folder's files holds.
pub(super) async fn plan<'a>(
    locations: &[Location],
    recursive: bool,
    compare: bool,
    session: &'a Session,
) -> Result<Plan<'a>, Failure> {
    let Some((destination, sources)) = locations.split_last() else {
        return Err(Failure::usage("nothing to copy"));
    };
    let several = sources.len() > 1;
    check(sources, destination, recursive)?;
    let mut known = Vec::new();
    let mut listings = Vec::new();
    let mut is_single = !several;
    for source in sources {
        match source {
            Location::Standard => {
                known.push(Planned::Transfer(single(source, "-", destination, several, None)?))
            }
            Location::Local(path) => {
                let about = tokio::fs::metadata(path)
                    .await
                    .map_err(|e| Failure::local(&format!("read {}", path.display()), &e))
                    .map_err(|failure| no_such_file(failure, path))?;
                if !about.is_dir() {
                    let name = file_name(path)?;
                    known.push(Planned::Transfer(single(
                        source,
                        &name,
                        destination,
                        several,
                        Some(about.len()),
                    )?));
                } else if recursive {
                    is_single = false;
                    known.extend(folder_up(session, path, destination, several).await?);
                } else {
                    return Err(Failure::usage(format!("{} is a folder", path.display())).hint("add -r"));
                }
            }
            Location::Remote(uri) if recursive => {
                is_single = false;
                listings.push((uri.clone(), destination_folder(uri, destination, several)));
            }
            Location::Remote(uri) => {
                let name = uri.path.rsplit('/').next().unwrap_or_default();
                if name.is_empty() {
                    return Err(Failure::usage(format!("{uri} is a folder")).hint("add -r"));
                }
                known.push(Planned::Transfer(single(source, name, destination, several, None)?));
            }
        }
    }
    if compare
        && !is_single
        && let Ok(client) = session.client()
    {
        unchanged::look_up(client, &mut known).await;
    }
    let total = listings.is_empty().then(|| {
        let sizes = known.iter().filter_map(|planned| match planned {
            Planned::Transfer(transfer) => Some(transfer.size_bytes.unwrap_or(0)),
            Planned::Problem { .. } => None,
        });
        sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size))
    });
    let mut transfers: Pin<Box<dyn Stream<Item = Planned>>> = Box::pin(stream::iter(known));
    for (uri, folder) in listings {
        transfers = Box::pin(transfers.chain(folder_down(session.client()?, uri, folder)));
    }
    Ok(Plan { transfers, total, is_single })
}

fn check(sources: &[Location], destination: &Location, recursive: bool) -> Result<(), Failure> {
    let is_remote = |location: &Location| matches!(location, Location::Remote(_));
    if !is_remote(destination) && !sources.iter().all(is_remote) {
        return Err(Failure::usage("neither end of the copy is in a repository")
            .hint("write a place in a repository as mp://repository/ref/path"));
    }
    if matches!(destination, Location::Standard) && (recursive || sources.len() > 1) {
        return Err(Failure::usage("only one object can go to stdout").hint("millpond cat URI..."));
    }
    if sources.iter().filter(|s| matches!(s, Location::Standard)).count() > 1 {
        return Err(Failure::usage("stdin can be read only once"));
    }
    let Location::Remote(to) = destination else { return Ok(()) };
    for source in sources {
        if let Location::Remote(from) = source
            && recursive
            && (&from.repository, &from.reference) == (&to.repository, &to.reference)
            && to.folder().starts_with(&from.folder())
        {
            return Err(Failure::usage(format!("{to} is inside of {from}: the copy would copy itself")));
        }
    }
    Ok(())
}

/// A file given by name.
fn single(
    source: &Location,
    name: &str,
    destination: &Location,
    several: bool,
    size_bytes: Option<u64>,
) -> Result<Transfer, Failure> {
    let destination = match destination {
        Location::Standard => Location::Standard,
        Location::Remote(uri) if uri.path.is_empty() || uri.path.ends_with('/') || several => {
            if name == "-" {
                return Err(Failure::usage(format!("stdin has no name to keep under {uri}"))
                    .hint(format!("millpond cp - {uri}NAME")));
            }
            Location::Remote(uri.at(format!("{}{name}", uri.folder())))
        }
        Location::Remote(uri) => Location::Remote(uri.clone()),
        Location::Local(path) if several || is_folder(path) => {
            let place = local::place(path, name);
            Location::Local(
                place.ok_or_else(|| Failure::usage(format!("'{name}' cannot be the name of a file here")))?,
            )
        }
        Location::Local(path) => Location::Local(path.clone()),
    };
    Ok(Transfer { source: source.clone(), destination, stats: None, size_bytes })
}

fn is_folder(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/")
}

/// Everything in a local folder, to a repository.
async fn folder_up(
    session: &Session,
    folder: &Path,
    destination: &Location,
    several: bool,
) -> Result<Vec<Planned>, Failure> {
    let Location::Remote(to) = destination else {
        return Err(Failure::usage("neither end of the copy is in a repository"));
    };
    let prefix = match several {
        true => format!("{}{}/", to.folder(), file_name(folder)?),
        false => to.folder(),
    };
    let root = folder.to_owned();
    let walked = tokio::task::spawn_blocking(move || local::walk(&root))
        .await
        .map_err(|e| Failure::new(Exit::Failed, format!("walk {}: {e}", folder.display())))?;
    if walked.empty_folders > 0 {
        let folders = match walked.empty_folders {
            1 => "1 empty folder has".to_owned(),
            n => format!("{n} empty folders have"),
        };
        session.output.note(&format!("{folders} no place in a repository: left out"));
    }
    let problems = walked.problems.into_iter().map(|(path, why)| Planned::Problem {
        source: path.display().to_string(),
        failure: Failure::new(Exit::Failed, why),
    });
    let files = walked.files.into_iter().map(|file| {
        Planned::Transfer(Transfer {
            source: Location::Local(file.path),
            destination: Location::Remote(to.at(format!("{prefix}{}", file.name))),
            stats: None,
            size_bytes: Some(file.size_bytes),
        })
    });
    Ok(problems.chain(files).collect())
}

/// Where the contents of a remote folder go.
fn destination_folder(source: &ObjectUri, destination: &Location, several: bool) -> Location {
    let folder = source.folder();
    let name = folder.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match destination {
        Location::Remote(to) if several && !name.is_empty() => {
            Location::Remote(to.at(format!("{}{name}/", to.folder())))
        }
        Location::Remote(to) => Location::Remote(to.at(to.folder())),
        Location::Local(path) if several => {
            Location::Local(local::place(path, name).unwrap_or_else(|| path.clone()))
        }
        other => other.clone(),
    }
}

/// Everything under a remote folder, page by page as it is needed.
fn folder_down(
    client: &Client,
    source: ObjectUri,
    destination: Location,
) -> impl Stream<Item = Planned> + '_ {
    let prefix = source.folder();
    let query = ObjectQuery { page: PageQuery::prefix(&prefix), ..ObjectQuery::default() };
    let pages = stream::unfold(Some((query, true)), move |state| {
        let (source, prefix, destination) = (source.clone(), prefix.clone(), destination.clone());
        async move {
            let (mut query, is_first) = state?;
            let listed = client
                .list_objects(&source.repository, &source.reference, &query)
                .await
                .in_repository(&source.repository);
            let page = match listed {
                Ok(page) => page,
                Err(failure) => {
                    return Some((vec![Planned::Problem { source: source.to_string(), failure }], None));
                }
            };
            if is_first && page.results.is_empty() {
                let failure = Failure::new(Exit::NotFound, "there is nothing under it")
                    .hint(format!("millpond ls {}", source.ref_uri()));
                return Some((vec![Planned::Problem { source: source.to_string(), failure }], None));
            }
            let next = page.next().map(ToOwned::to_owned).map(|after| {
                query.page.after = after;
                (query, false)
            });
            let planned =
                page.results.into_iter().map(|stats| below(&source, &prefix, &destination, stats)).collect();
            Some((planned, next))
        }
    });
    pages.flat_map(stream::iter)
}

/// One object of a folder.
fn below(source: &ObjectUri, prefix: &str, destination: &Location, stats: ObjectStats) -> Planned {
    let from = source.at(stats.path.clone());
    let name = stats.path.strip_prefix(prefix).unwrap_or(&stats.path);
    let destination = match destination {
        Location::Remote(to) => Some(Location::Remote(to.at(format!("{}{name}", to.folder())))),
        Location::Local(folder) => local::place(folder, name).map(Location::Local),
        Location::Standard => None,
    };
    match destination {
        Some(destination) => Planned::Transfer(Transfer {
            source: Location::Remote(from),
            destination,
            size_bytes: stats.size_bytes,
            stats: Some(Box::new(stats)),
        }),
        None => Planned::Problem {
            source: from.to_string(),
            failure: Failure::new(Exit::Failed, format!("'{name}' cannot be the name of a file here")),
        },
    }
}

fn file_name(path: &Path) -> Result<String, Failure> {
    // `.` and `..` have no name of their own.
    let real: PathBuf;
    let named = match path.file_name() {
        Some(name) => name,
        None => {
            real =
                path.canonicalize().map_err(|e| Failure::local(&format!("read {}", path.display()), &e))?;
            real.file_name().unwrap_or_default()
        }
    };
    match named.to_str() {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(Failure::usage(format!("{} has no name that is UTF-8", path.display()))
            .hint("give the whole destination")),
    }
}

/// `cp demo/main/a.csv .` most likely means an object.
fn no_such_file(failure: Failure, path: &Path) -> Failure {
    match path.to_str().and_then(|text| text.parse::<ObjectUri>().ok()).filter(|uri| !uri.path.is_empty()) {
        Some(uri) if path.is_relative() => failure.hint(format!("an object is written {uri}")),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GlobalArgs;
    use crate::environment::Environment;
    use crate::output::{Format, Output};

    fn session() -> Session {
        let environment = Environment::fixed(&[], jiff::Timestamp::UNIX_EPOCH);
        Session::new(
            GlobalArgs {
                server: Some("http://127.0.0.1:1".into()),
                access_key_id: Some("a".into()),
                secret_access_key: Some("b".into()),
                ..GlobalArgs::default()
            },
            environment,
            Output::captured(Format::Table, jiff::Timestamp::UNIX_EPOCH).0,
        )
    }

    async fn pairs(arguments: &[&str], recursive: bool) -> Result<Vec<String>, Failure> {
        let locations: Vec<Location> = arguments.iter().map(|a| a.parse().expect(a)).collect();
        let session = session();
        let planned: Vec<Planned> =
            plan(&locations, recursive, false, &session).await?.transfers.collect().await;
        Ok(planned
            .into_iter()
            .map(|planned| match planned {
                Planned::Transfer(t) => format!("{} -> {}", t.source, t.destination),
                Planned::Problem { source, failure } => format!("{source}: {}", failure.message),
            })
            .collect())
    }

    #[tokio::test]
    async fn where_files_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_str().expect("UTF-8").to_owned();
        for name in ["d/x", "d/e/y", "a.csv"] {
            let path = folder.path().join(name);
            tokio::fs::create_dir_all(path.parent().expect("parent")).await.expect("made");
            tokio::fs::write(path, "1").await.expect("written");
        }
        let at = |name: &str| format!("{root}/{name}");
        let table: Vec<(Vec<String>, bool, Vec<String>)> = vec![
            (
                vec![at("a.csv"), "mp://demo/main/b.csv".into()],
                false,
                vec!["a.csv -> mp://demo/main/b.csv".into()],
            ),
            (
                vec![at("a.csv"), "mp://demo/main/t/".into()],
                false,
                vec!["a.csv -> mp://demo/main/t/a.csv".into()],
            ),
            (vec![at("a.csv"), "mp://demo/main".into()], false, vec!["a.csv -> mp://demo/main/a.csv".into()]),
            (
                vec![at("d"), "mp://demo/main/p".into()],
                true,
                vec!["d/e/y -> mp://demo/main/p/e/y".into(), "d/x -> mp://demo/main/p/x".into()],
            ),
            (
                vec![at("a.csv"), at("d"), "mp://demo/main/p/".into()],
                true,
                vec![
                    "a.csv -> mp://demo/main/p/a.csv".into(),
                    "d/e/y -> mp://demo/main/p/d/e/y".into(),
                    "d/x -> mp://demo/main/p/d/x".into(),
                ],
            ),
            (vec!["-".into(), "mp://demo/main/s".into()], false, vec!["- -> mp://demo/main/s".into()]),
            (vec!["mp://demo/main/t/a".into(), root.clone()], false, vec!["mp://demo/main/t/a -> a".into()]),
            (vec!["mp://demo/main/t/a".into(), at("new")], false, vec!["mp://demo/main/t/a -> new".into()]),
            (vec!["mp://demo/main/a".into(), "-".into()], false, vec!["mp://demo/main/a -> -".into()]),
            (
                vec!["mp://demo/v1/a".into(), "mp://demo/main/old/".into()],
                false,
                vec!["mp://demo/v1/a -> mp://demo/main/old/a".into()],
            ),
        ];
        for (arguments, recursive, wanted) in table {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let got = pairs(&arguments, recursive).await.expect("a plan");
            let got: Vec<String> = got.iter().map(|line| line.replace(&format!("{root}/"), "")).collect();
            assert_eq!(got, wanted, "{arguments:?}");
        }
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_before_anything_moves() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().to_str().expect("UTF-8");
        for (arguments, recursive, part) in [
            (vec!["a", "b"], false, "neither end"),
            (vec![root, "mp://demo/main/"], false, "is a folder"),
            (vec!["mp://demo/main/d/", "."], false, "is a folder"),
            (vec!["-", "mp://demo/main/"], false, "stdin has no name"),
            (vec!["mp://demo/main/a", "mp://demo/main/b", "-"], false, "only one object"),
            (vec!["mp://demo/main/", "mp://demo/main/copy/"], true, "would copy itself"),
        ] {
            let failure = pairs(&arguments, recursive).await.expect_err("refused");
            assert_eq!(failure.exit, Exit::Usage, "{arguments:?}");
            assert!(failure.message.contains(part), "{arguments:?}: {}", failure.message);
        }
    }

    #[tokio::test]
    async fn a_forgotten_scheme_is_explained() {
        let failure = pairs(&["demo/main/a.csv", "mp://demo/dev/"], false).await.expect_err("refused");
        assert_eq!(failure.hint.as_deref(), Some("an object is written mp://demo/main/a.csv"));
    }

    #[test]
    fn objects_without_a_place_are_named() {
        let source: ObjectUri = "mp://demo/main/d/".parse().expect("valid");
        let stats = |path: &str| ObjectStats {
            path: path.into(),
            path_type: millpond_client::PathType::Object,
            physical_address: String::new(),
            checksum: String::new(),
            size_bytes: Some(1),
            mtime: 0,
            metadata: Default::default(),
            content_type: None,
            verified: None,
        };
        let here = Location::Local("out".into());
        let plan = |path: &str| below(&source, "d/", &here, stats(path));
        assert!(
            matches!(plan("d/x/y"), Planned::Transfer(t) if t.destination == Location::Local("out/x/y".into()))
        );
        for path in ["d/../../etc/passwd", "d//x", "d/x/", "d/"] {
            assert!(matches!(plan(path), Planned::Problem { .. }), "{path}");
        }
        let there: Location = "mp://other/main/p".parse().expect("valid");
        let Planned::Transfer(copy) = below(&source, "d/", &there, stats("d//x/")) else { panic!("refused") };
        assert_eq!(copy.destination.to_string(), "mp://other/main/p//x/");
    }
}
