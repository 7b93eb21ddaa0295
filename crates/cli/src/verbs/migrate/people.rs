//! Users, groups and policies. What is here already under the same name stays as it is.

use super::Route;
use super::source::every_page;
use crate::failure::Failure;
use millpond_client::people::{Group, Holder, Policy};
use millpond_client::{Error, Kind, PageQuery, User};

/// The group that may do everything.
const ADMINISTRATORS: &str = "Admins";

/// Copies them; says what people should know.
pub async fn copy(route: &Route) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    match copy_all(route, &mut notes).await {
        Ok(()) => {}
        // lakeFS without access control, or a key that may not see it.
        Err(error) if matches!(error.kind(), Kind::Server | Kind::Denied | Kind::NotFound) => {
            notes.push(format!("users, groups and policies were not all taken over: {error}"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(notes)
}

async fn copy_all(route: &Route, notes: &mut Vec<String>) -> Result<(), Error> {
    let Route { from, to, patience, .. } = route;
    let (mut policies, mut groups, mut users) = (Vec::new(), Vec::new(), Vec::new());
    every_page(
        *patience,
        "",
        async |q: PageQuery| from.list_policies(&q).await,
        |p: Policy| policies.push(p),
    )
    .await?;
    every_page(*patience, "", async |q: PageQuery| from.list_groups(&q).await, |g: Group| groups.push(g))
        .await?;
    every_page(*patience, "", async |q: PageQuery| from.list_users(&q).await, |u: User| users.push(u))
        .await?;
    let mut refused = Vec::new();
    for policy in &policies {
        match to.create_policy(&Policy { creation_date: None, ..policy.clone() }).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Conflict => {
                let ours = patience.wait(async || to.get_policy(&policy.id).await).await?;
                if ours.statement != policy.statement {
                    notes.push(format!("policy {} is another one here, and stays so", policy.id));
                }
            }
            Err(error) if error.kind() == Kind::Invalid => {
                notes.push(format!("policy {} was not taken over: {error}", policy.id));
                refused.push(policy.id.as_str());
            }
            Err(error) => return Err(error),
        }
    }
    let mut new_users = 0;
    for user in &users {
        match to.create_user(&user.id).await {
            Ok(_) => new_users += 1,
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) if error.kind() == Kind::Invalid => {
                notes.push(format!("user {} was not taken over: {error}", user.id));
                continue;
            }
            Err(error) => return Err(error),
        }
        attach(route, Holder::User(&user.id), &refused).await?;
    }
    for group in &groups {
        match to.create_group(&group.id, &group.description).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) if error.kind() == Kind::Invalid => {
                notes.push(format!("group {} was not taken over: {error}", group.id));
                continue;
            }
            Err(error) => return Err(error),
        }
        attach(route, Holder::Group(&group.id), &refused).await?;
        let mut members = Vec::new();
        let list = async |query: PageQuery| from.list_members(&group.id, &query).await;
        every_page(*patience, "", list, |member: User| members.push(member.id)).await?;
        if group.id == ADMINISTRATORS && !members.is_empty() {
            notes.push(format!("administrators there are administrators here: {}", members.join(", ")));
        }
        for member in &members {
            already_is_fine(patience.wait(async || to.add_member(&group.id, member).await).await)?;
        }
    }
    if new_users > 0 {
        notes.push(format!(
            "{new_users} users were taken over without keys and passwords: 'millpond auth keys create' makes new ones"
        ));
    }
    Ok(())
}

/// Gives a user or group here the policies that it has there.
async fn attach(route: &Route, holder: Holder<'_>, refused: &[&str]) -> Result<(), Error> {
    let Route { from, to, patience, .. } = route;
    let mut policies = Vec::new();
    let list = async |query: PageQuery| from.list_attached_policies(holder, false, &query).await;
    every_page(*patience, "", list, |policy: Policy| policies.push(policy.id)).await?;
    for policy in policies.iter().filter(|policy| !refused.contains(&policy.as_str())) {
        already_is_fine(patience.wait(async || to.attach_policy(policy, holder).await).await)?;
    }
    Ok(())
}

fn already_is_fine(done: Result<(), Error>) -> Result<(), Error> {
    match done {
        Err(error) if error.kind() == Kind::Conflict => Ok(()),
        done => done,
    }
}
