//! `millpond auth explain`: whether a user may do something, and why.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Format;
use crate::session::Session;
use clap::Args;

/// Say whether a user may do something, and which statement decides.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond auth explain ann fs:WriteObject demo
  millpond auth explain ann fs:ReadObject arn:lakefs:fs:::repository/demo/object/a.csv
  millpond auth explain ann auth:ListUsers '*'

Exit code 0 if the user may, 4 if not. Nothing is done.")]
pub struct Explain {
    /// Whose rights
    #[arg(value_name = "USER")]
    user: String,
    /// To do what, as policies spell it
    #[arg(value_name = "ACTION")]
    action: String,
    /// On what: an ARN, '*', or the name of a repository
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// From this address; without it no condition on the address holds
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    from: String,
}

impl Explain {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let resource = if self.resource == "*" || self.resource.starts_with("arn:") {
            self.resource.clone()
        } else {
            format!("arn:lakefs:fs:::repository/{}", self.resource)
        };
        let found = session.client()?.explain(&self.user, &self.action, &resource, &self.from).await?;
        match session.output.format {
            Format::Json | Format::Ndjson => session.output.json(&found)?,
            Format::Table | Format::Tsv => session.output.line(&found.text)?,
        }
        for near in &found.near {
            let why = match &*near.misses {
                "condition" => "its condition does not hold",
                _ => "it speaks of other resources",
            };
            session.output.note(&format!(
                "statement {} of policy {} permits {}, but {why}",
                near.statement, near.policy, self.action
            ));
        }
        Ok(if found.allowed { Exit::Ok } else { Exit::Denied })
    }
}
