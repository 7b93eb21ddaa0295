//! Asking a server again as long as that may help, and asking for all of a list.
//!
//! The accident this prevents: a migration of a night ends at two o'clock because a server was restarted, or said
//! that it had too much to do.

use millpond_client::{Error, Kind, Page, PageQuery};
use std::time::Duration;

/// Between two tries, in milliseconds; the last one repeats.
const WAITS_MILLIS: [u64; 7] = [200, 500, 1_000, 3_000, 5_000, 10_000, 20_000];

/// How long a server that does not answer is asked again.
#[derive(Debug, Clone, Copy)]
pub struct Patience(pub Duration);

impl Patience {
    /// Asks until there is an answer, a refusal that will stay one, or no patience left. Only for what may be asked
    /// twice.
    ///
    /// # Errors
    /// The last one.
    pub async fn wait<T>(self, mut ask: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut waited = Duration::ZERO;
        let mut waits = WAITS_MILLIS.into_iter();
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !is_passing(&error) || waited >= self.0 {
                return Err(error);
            }
            let next = Duration::from_millis(waits.next().unwrap_or(WAITS_MILLIS[WAITS_MILLIS.len() - 1]));
            let asked = error.refusal().and_then(|refusal| refusal.retry_after).unwrap_or_default();
            let pause = next.max(asked).min(self.0.saturating_sub(waited)).max(Duration::from_millis(1));
            waited += pause;
            tokio::time::sleep(pause).await;
        }
    }
}

/// Whether the same question may be answered later.
fn is_passing(error: &Error) -> bool {
    match error.kind() {
        Kind::Busy | Kind::Unreachable => true,
        // Of a proxy, or of a server that has just begun or is about to end.
        Kind::Server => error.refusal().is_some_and(|refusal| matches!(refusal.status, 500 | 502 | 504)),
        _ => false,
    }
}

/// Whether the thing is not there.
pub fn is_absent(error: &Error) -> bool {
    error.kind() == Kind::NotFound
}

/// Every item of a list, in full pages, from behind `after`.
pub async fn every_page<T>(
    patience: Patience,
    after: &str,
    fetch: impl AsyncFn(PageQuery) -> Result<Page<T>, Error>,
    mut take: impl FnMut(T),
) -> Result<(), Error> {
    let mut query = PageQuery { after: after.to_owned(), ..PageQuery::prefix("") };
    loop {
        let page = patience.wait(async || fetch(query.clone()).await).await?;
        let next = page.next().map(ToOwned::to_owned);
        page.results.into_iter().for_each(&mut take);
        match next {
            None => return Ok(()),
            Some(next) => query.after = next,
        }
    }
}
