//! What relates refs to each other: log, diff, merge (areas 12, 14, 15).

use crate::call::{Call, branch};
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    Commit, Diff, DiffObjectStat, DifferenceType, FindMergeBaseResult, List, Merge, MergeResult, PathType,
    UserMetadata,
};
use crate::objects::content_type;
use http::StatusCode;
use millpond_service::{
    DiffItem, DiffKind, DiffRequest, DiffType, Entry, Kind, LogRequest, MergeRequest, MergeStrategy, Page,
};
use std::borrow::Cow;

/// `GET /repositories/{repository}/refs/{ref}/commits`
pub async fn log(call: Call) -> Handled {
    let (repo, from) = (call.repository()?, call.reference("ref")?);
    let request = LogRequest {
        after: call.optional_reference("after")?,
        amount: call.amount(),
        paths: call.paths("objects")?,
        prefixes: call.prefixes("prefixes"),
        limit: call.flag("limit"),
        first_parent: call.flag("first_parent"),
        since: call.instant("since"),
        stop_at: call.optional_reference("stop_at")?,
    };
    let page = call.service.log(&call.caller, &repo, &from, request).await?;
    let last = page.items.last().map(|info| info.id.to_hex()).unwrap_or_default();
    json::ok(&List::new(page.items.iter().map(Commit::from).collect(), page.has_more, &last))
}

/// `GET /repositories/{repository}/refs/{leftRef}/diff/{rightRef}`
pub async fn diff(call: Call) -> Handled {
    let (repo, left, right) = (call.repository()?, call.reference("leftRef")?, call.reference("rightRef")?);
    let kind = match call.text("type") {
        "two_dot" => DiffKind::TwoDot,
        _ => DiffKind::ThreeDot,
    };
    let page = call.service.diff_refs(&call.caller, &repo, &left, &right, kind, request(&call)).await?;
    let with_stats = call.flag("include_right_stats");
    render(&page, |left, right| {
        // For a removed path size and stats describe the left value, there being no other (API-15.8).
        let entry = right.or(left);
        (entry.map_or(0, |entry| entry.size), entry.filter(|_| with_stats).map(stat))
    })
}

/// `GET /repositories/{repository}/branches/{branch}/diff`
pub async fn diff_branch(call: Call) -> Handled {
    let page =
        call.service.diff_branch(&call.caller, &call.repository()?, &call.branch()?, request(&call)).await?;
    render(&page, |_, right| (right.map_or(0, |entry| entry.size), None))
}

fn request(call: &Call) -> DiffRequest {
    DiffRequest {
        prefix: call.bytes("prefix"),
        after: call.bytes("after"),
        delimiter: call.bytes("delimiter"),
        amount: call.amount(),
    }
}

fn stat(entry: &Entry) -> DiffObjectStat<'_> {
    DiffObjectStat {
        checksum: entry.checksum.to_text(),
        mtime: entry.mtime.seconds(),
        content_type: content_type(&entry.attributes),
        metadata: Some(UserMetadata(Some(&entry.attributes))),
    }
}

/// A page of differences; `describe` gives size and stats of a path from its left and right value.
fn render<'a>(
    page: &'a Page<DiffItem>,
    describe: impl Fn(Option<&'a Entry>, Option<&'a Entry>) -> (u64, Option<DiffObjectStat<'a>>),
) -> Handled {
    let lines: Vec<Diff<'a>> = page
        .items
        .iter()
        .map(|item| match item {
            DiffItem::Object { path, kind, left, right } => {
                let (size, stats) = describe(left.as_ref(), right.as_ref());
                Diff {
                    r#type: match kind {
                        DiffType::Added => DifferenceType::Added,
                        DiffType::Removed => DifferenceType::Removed,
                        DiffType::Changed => DifferenceType::Changed,
                        DiffType::Conflict => DifferenceType::Conflict,
                    },
                    path: path.to_text(),
                    path_type: PathType::Object,
                    size_bytes: Some(size),
                    right: stats,
                }
            }
            DiffItem::CommonPrefix(prefix) => Diff {
                r#type: DifferenceType::PrefixChanged,
                path: String::from_utf8_lossy(prefix),
                path_type: PathType::CommonPrefix,
                size_bytes: None,
                right: None,
            },
        })
        .collect();
    let last = lines.last().map(|line| line.path.clone()).unwrap_or(Cow::Borrowed(""));
    json::ok(&List::new(lines, page.has_more, &last))
}

/// `POST /repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}`. A conflict is 409 with
/// an empty reference instead of a message (API-14.10).
pub async fn merge(mut call: Call) -> Handled {
    let request = merge_request(&mut call)?;
    let (repo, source) = (call.repository()?, call.reference("sourceRef")?);
    let destination = branch(call.text("destinationBranch"))?;
    let merged = call
        .change(|service, caller| async move {
            match service.merge(&caller, &repo, &source, &destination, request).await {
                Ok(commit) => Ok(Some(commit)),
                Err(error) if error.kind == Kind::Conflict => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await?;
    let (status, reference) = match merged {
        Some(commit) => (StatusCode::OK, commit.to_hex()),
        None => (StatusCode::CONFLICT, String::new()),
    };
    Ok(json::reply(status, &MergeResult { reference }))
}

/// How it is to be merged.
pub fn merge_request(call: &mut Call) -> Handled<MergeRequest> {
    let body: Merge = call.message_or_default()?;
    Ok(MergeRequest {
        message: body.message.unwrap_or_default(),
        metadata: body.metadata.unwrap_or_default(),
        strategy: match body.strategy.as_deref() {
            None | Some("") => MergeStrategy::Refuse,
            Some("source-wins") => MergeStrategy::SourceWins,
            Some("dest-wins") => MergeStrategy::DestWins,
            Some(_) => return Err(Refusal::invalid("argument strategy: invalid value")),
        },
        squash: body.squash_merge.unwrap_or(false),
        allow_empty: body.allow_empty.unwrap_or(false),
        force: body.force.unwrap_or(false),
    })
}

/// `GET /repositories/{repository}/refs/{sourceRef}/merge/{destinationBranch}`. The two commits are named
/// after what they are, not swapped as in API-14.13.
pub async fn merge_base(call: Call) -> Handled {
    let (source, destination) = (call.reference("sourceRef")?, call.reference("destinationBranch")?);
    let (base, source, destination) =
        call.service.merge_base(&call.caller, &call.repository()?, &source, &destination).await?;
    json::ok(&FindMergeBaseResult {
        source_commit_id: source.to_hex(),
        destination_commit_id: destination.to_hex(),
        base_commit_id: base.to_hex(),
    })
}
