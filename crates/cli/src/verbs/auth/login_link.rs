//! `millpond auth login-link`: an address that signs a browser in, once.

use super::lifetime::Lifetime;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Cell;
use crate::session::Session;
use clap::Args;
use serde::Serialize;

/// Print a link that signs a browser in, once.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:
  millpond auth login-link
  millpond auth login-link ann --expires 1d

Whoever has the link is signed in as its user: send it to nobody else. The button on its page uses
it up, not the programs that look at links in mails and chats.")]
pub struct LoginLink {
    /// Who is signed in [default: yourself]
    #[arg(value_name = "USER")]
    user: Option<String>,
    /// How long it may stay unused, at most 1d [default: 15m]
    #[arg(long, value_name = "TIME")]
    expires: Option<Lifetime>,
}

#[derive(Serialize)]
struct Link<'a> {
    user_id: &'a str,
    url: &'a str,
    expires: &'a str,
}

impl LoginLink {
    pub async fn run(self, session: &Session) -> Result<Exit, Failure> {
        let client = session.client()?;
        let seconds = self.expires.map(|lifetime| lifetime.seconds);
        let link = client.create_link(self.user.as_deref(), seconds).await?;
        let url = format!("{}{}", client.server().trim_end_matches('/'), link.path);
        let item = Link { user_id: &link.user_id, url: &url, expires: &link.expires };
        let fields = [
            ("user", Cell::text(&link.user_id)),
            ("link", Cell::text(&url)),
            ("ends", Cell::text(&link.expires)),
        ];
        session.output.record(&item, &fields)?;
        session.output.note("open it in a browser; it signs in once");
        Ok(Exit::Ok)
    }
}
