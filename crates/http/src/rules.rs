//! Branch protection and garbage collection rules (areas 21, 22), each under its present and its older name.

use crate::call::Call;
use crate::error::{Handled, Refusal};
use crate::json;
use crate::messages::{
    BranchProtectionRule, GarbageCollectionRule, GarbageCollectionRules,
    InternalDeleteBranchProtectionRuleRequest, Pattern,
};
use http::{StatusCode, header};
use millpond_service::{CollectionRules, Kind, ProtectionChange};

/// `GET .../settings/branch_protection` and `GET .../branch_protection`. The ETag names the rules, none of them
/// included: the next change can always be made conditional on it (unlike API-21.5, API-21.7).
pub async fn branch_protection(call: Call) -> Handled {
    let protection = call.service.branch_protection(&call.caller, &call.repository()?).await?;
    let rules: Vec<_> = protection
        .patterns
        .into_iter()
        .map(|pattern| BranchProtectionRule { pattern: Pattern(pattern) })
        .collect();
    let mut response = json::reply(StatusCode::OK, &rules);
    json::set(response.headers_mut(), header::ETAG, &protection.etag);
    Ok(response)
}

/// `PUT .../settings/branch_protection`
pub async fn set_branch_protection(mut call: Call) -> Handled {
    let rules: Vec<BranchProtectionRule> = call.message()?;
    let if_match = call.values.get("If-Match").map(|etag| etag.trim_matches('"').to_owned());
    let patterns = rules.into_iter().map(|rule| rule.pattern.0).collect();
    change_branch_protection(&call, ProtectionChange::Replace { patterns, if_match }).await?;
    json::done()
}

/// `POST .../branch_protection`
pub async fn add_branch_protection(mut call: Call) -> Handled {
    let rule: BranchProtectionRule = call.message()?;
    change_branch_protection(&call, ProtectionChange::Add(rule.pattern.0)).await?;
    json::done()
}

/// `DELETE .../branch_protection`. That there is no such rule is 404 with an empty body (API-1.4).
pub async fn remove_branch_protection(mut call: Call) -> Handled {
    let rule: InternalDeleteBranchProtectionRuleRequest = call.message()?;
    let repo = call.repository()?;
    let found = call
        .change(|service, caller| async move {
            let change = ProtectionChange::Remove(rule.pattern);
            match service.change_branch_protection(&caller, &repo, change).await {
                Err(error) if error.kind == Kind::NotFound(millpond_service::Thing::Other) => Ok(false),
                outcome => outcome.map(|()| true),
            }
        })
        .await?;
    if found { json::done() } else { Ok(json::empty(StatusCode::NOT_FOUND)) }
}

async fn change_branch_protection(call: &Call, change: ProtectionChange) -> Handled<()> {
    let repo = call.repository()?;
    call.change(
        |service, caller| async move { service.change_branch_protection(&caller, &repo, change).await },
    )
    .await
}

/// `GET .../branch_protection/set_allowed`
pub async fn may_change_branch_protection(call: Call) -> Handled {
    call.service.may_change_branch_protection(&call.caller, &call.repository()?).await?;
    json::done()
}

/// `GET .../settings/gc_rules` and `GET .../gc/rules`. No rule for a branch is an empty list, not the null of
/// API-22.4, which the SDK's own model refuses.
pub async fn gc_rules(call: Call) -> Handled {
    let rules = call.service.collection_rules(&call.caller, &call.repository()?).await?;
    let rules = rules.ok_or_else(|| Refusal::not_found("no garbage collection rules are set"))?;
    json::ok(&GarbageCollectionRules {
        default_retention_days: rules.default_days,
        branches: rules
            .branches
            .into_iter()
            .map(|(branch_id, retention_days)| GarbageCollectionRule { branch_id, retention_days })
            .collect(),
    })
}

/// `PUT .../settings/gc_rules` and `POST .../gc/rules`. Of a branch named twice the last rule counts (API-22.4).
pub async fn set_gc_rules(mut call: Call) -> Handled {
    let body: GarbageCollectionRules = call.message()?;
    let rules = CollectionRules {
        default_days: body.default_retention_days,
        branches: body.branches.into_iter().map(|rule| (rule.branch_id, rule.retention_days)).collect(),
    };
    change_gc_rules(&call, Some(rules)).await
}

/// `DELETE .../settings/gc_rules` and `DELETE .../gc/rules`: 204, also when none were set.
pub async fn delete_gc_rules(call: Call) -> Handled {
    change_gc_rules(&call, None).await
}

async fn change_gc_rules(call: &Call, rules: Option<CollectionRules>) -> Handled {
    let repo = call.repository()?;
    call.change(|service, caller| async move { service.set_collection_rules(&caller, &repo, rules).await })
        .await?;
    json::done()
}

/// `GET .../gc/rules/set_allowed`
pub async fn may_set_gc_rules(call: Call) -> Handled {
    call.service.may_set_collection_rules(&call.caller, &call.repository()?).await?;
    json::done()
}

/// Preparing a collection. Without rules there is nothing to prepare by (API-22.8); with them the answer is that
/// of a server that does not do it: this one's own collector needs no list.
pub async fn prepare(call: Call) -> Handled {
    match call.service.may_prepare_collection(&call.caller, &call.repository()?).await? {
        false => Err(Refusal::not_found("no garbage collection rules are set")),
        true => Err(Refusal::not_implemented("lists for an outside garbage collector are not made")),
    }
}
