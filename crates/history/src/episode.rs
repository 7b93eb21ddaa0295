//! One episode: clients work on a branch of their own making while accidents happen, then the record is judged.

use crate::client::{Client, Record};
use crate::event::{Answer, ChainLink, Content, Expected, History, Operation, Violation};
use crate::proxy::{Loss, Proxy};
use anyhow::{Context, Result};
use futures::future::try_join_all;
use millpond_bench::chance::Chance;
use millpond_bench::server::{Server, Setup};
use millpond_bench::site::Site;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// The repository of a run.
pub const REPOSITORY: &str = "history";
/// Keys that all clients write.
const SHARED_KEYS: u64 = 6;
/// The client that reads what remains.
const READER: usize = 99;
/// How long a paused server stands still, in milliseconds.
const PAUSE_MS_MIN: u64 = 20;
const PAUSE_MS_MAX: u64 = 200;

/// A running server with the road to it.
pub struct Stage {
    setup: Setup,
    server: Server,
    proxy: Proxy,
}

/// A branch and what happens on it.
pub struct Scene {
    /// What happened so far.
    pub record: Rc<Record>,
    start_head: String,
}

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Reads, writes, deletes, conditional writes, listings and commits on one branch.
    Staging,
    /// Rounds of branch, two writes, commit and merge into one branch.
    Merging,
}

/// What goes wrong meanwhile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accidents {
    /// SIGKILL and restart.
    pub kills: u64,
    /// SIGSTOP and SIGCONT.
    pub pauses: u64,
    /// What gets lost on the road.
    pub loss: Loss,
}

/// An episode to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Chooses everything but the timing.
    pub seed: u64,
    /// Clients at a time.
    pub clients: usize,
    /// About how many operations.
    pub operations: u64,
    /// What they do.
    pub workload: Workload,
    /// What goes wrong.
    pub accidents: Accidents,
}

impl Plan {
    /// The plan that a seed makes.
    pub fn of_seed(seed: u64, operations: u64) -> Self {
        let mut chance = Chance::new(seed);
        let workload = if chance.one_in(3) { Workload::Merging } else { Workload::Staging };
        let mut accidents = Accidents::default();
        if chance.one_in(2) {
            accidents.kills = 1 + chance.below(2);
        }
        if chance.one_in(3) {
            accidents.pauses = 1 + chance.below(3);
        }
        if chance.one_in(2) {
            accidents.loss = Loss { requests_one_in: 150, replies_one_in: 40 };
        }
        Self { seed, clients: 4 + chance.below(13) as usize, operations, workload, accidents }
    }
}

/// What an episode was.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Operations done.
    pub operations: u64,
    /// Of them without an answer.
    pub unknown: u64,
    /// Conditional writes that were refused.
    pub refused: u64,
    /// Requests repeated with their key.
    pub repeated: u64,
    /// Commits in the chain.
    pub commits: u64,
    /// Requests and replies that were lost.
    pub lost: u64,
    /// Kills and pauses.
    pub kills: u64,
    /// See `kills`.
    pub pauses: u64,
    /// Promises that were not kept.
    pub violations: Vec<Violation>,
    /// Answers that no rule speaks of.
    pub unexpected: Vec<String>,
}

impl Stage {
    /// Starts a server on an empty folder, with the repository. Call within a [`tokio::task::LocalSet`].
    pub async fn start(setup: Setup, seed: u64) -> Result<Self> {
        let server = Server::start(&setup, "/repositories", 200).await?;
        let proxy = Proxy::open(seed).await?;
        proxy.lead_to(Some(server.site.address));
        let stage = Self { setup, server, proxy };
        let record = Rc::new(Record::new(stage.site(), REPOSITORY, "main"));
        let body = json!({"name": REPOSITORY, "storage_namespace": format!("local://{REPOSITORY}")});
        let mut client = Client::new(0, seed, record.clone());
        client.prepare(|site| site.api("POST", "/repositories", Some(&body))).await?;
        anyhow::ensure!(record.unexpected.borrow().is_empty(), "{:?}", record.unexpected.borrow());
        Ok(stage)
    }

    /// The server as clients reach it.
    pub fn site(&self) -> Site {
        Site::new(self.proxy.address, self.setup.keys.clone())
    }

    /// Where the server itself listens.
    pub fn server(&self) -> SocketAddr {
        self.server.site.address
    }

    /// Clients reach this address instead of the server, until the server is restarted.
    pub fn lead_through(&self, address: SocketAddr) {
        self.proxy.lead_to(Some(address));
    }

    /// What gets lost from now on.
    pub fn lose(&self, loss: Loss) {
        self.proxy.lose(loss);
    }

    /// SIGKILL, and a new server on the same data.
    pub async fn kill_and_restart(&mut self, record: &Record) -> Result<()> {
        self.server.kill()?;
        record.kills.borrow_mut().push(record.now());
        self.server = Server::start(&self.setup, &format!("/repositories/{REPOSITORY}"), 200).await?;
        record.generation.set(record.generation.get() + 1);
        self.proxy.lead_to(Some(self.server.site.address));
        Ok(())
    }

    /// Stands the server still for a while.
    pub async fn pause(&self, length: Duration) -> Result<()> {
        self.server.signal(Signal::STOP)?;
        tokio::time::sleep(length).await;
        self.server.signal(Signal::CONT)
    }

    /// Stops the server in order.
    pub async fn stop(mut self) -> Result<()> {
        self.server.stop().await
    }

    /// A new branch, and an empty record of it.
    pub async fn open(&self, branch: &str) -> Result<Scene> {
        let record = Rc::new(Record::new(self.site(), REPOSITORY, branch));
        let mut client = Client::new(0, 0, record.clone());
        let body = json!({"name": branch, "source": "main"});
        let target = record.below("/branches");
        client.prepare(|site| site.api("POST", &target, Some(&body))).await?;
        let start = client.fetch(&record.below(&format!("/branches/{branch}"))).await?;
        let start_head = start["commit_id"].as_str().context("a branch has a head")?.to_owned();
        Ok(Scene { record, start_head })
    }

    /// Runs one episode on a branch of its own and judges it.
    pub async fn run(&mut self, plan: Plan, number: u64) -> Result<(Outcome, History)> {
        let scene = self.open(&format!("episode-{number}")).await?;
        let record = scene.record.clone();
        let lost_before = self.proxy.lost();
        self.proxy.lose(plan.accidents.loss);
        let mut clients: Vec<Client> =
            (0..plan.clients).map(|number| scene.client(number, plan.seed)).collect();
        let work = async {
            try_join_all(clients.iter_mut().map(|client| async {
                match plan.workload {
                    Workload::Staging => stage_and_commit(client, plan).await,
                    Workload::Merging => merge_rounds(client, plan).await,
                }
            }))
            .await
        };
        let (worked, accidents) = tokio::join!(work, self.accidents(plan, &record));
        worked?;
        let (kills, pauses) = accidents?;
        self.proxy.lose(Loss::default());

        for client in &mut clients {
            client.head().await;
        }
        let owners = match plan.workload {
            Workload::Staging => plan.clients,
            Workload::Merging => 0,
        };
        let history = scene.history(owners).await?;
        let operations = &history.operations;
        let count = |is: fn(&Operation) -> bool| operations.iter().filter(|o| is(o)).count() as u64;
        let mut outcome = Outcome {
            operations: record.done.get(),
            unknown: count(|o| o.answer == Answer::Unknown),
            refused: count(|o| o.answer == Answer::Refused),
            repeated: record.repeated.get(),
            commits: history.chain.len() as u64,
            lost: self.proxy.lost() - lost_before,
            kills,
            pauses,
            violations: vec![],
            unexpected: record.unexpected.take(),
        };
        outcome.violations = crate::check::check(&history);
        Ok((outcome, history))
    }

    /// Lets happen what is planned, spread over the episode; returns kills and pauses.
    async fn accidents(&mut self, plan: Plan, record: &Record) -> Result<(u64, u64)> {
        let mut chance = Chance::new(!plan.seed);
        let total = plan.accidents.kills + plan.accidents.pauses;
        let (mut kills, mut pauses) = (0, 0);
        for number in 0..total {
            let at = plan.operations * (number + 1) / (total + 1);
            while record.done.get() < at {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if kills < plan.accidents.kills && (pauses == plan.accidents.pauses || chance.one_in(2)) {
                self.kill_and_restart(record).await?;
                kills += 1;
            } else {
                let length = PAUSE_MS_MIN + chance.below(PAUSE_MS_MAX - PAUSE_MS_MIN);
                self.pause(Duration::from_millis(length)).await?;
                pauses += 1;
            }
        }
        Ok((kills, pauses))
    }
}

impl Scene {
    /// One more client. The number is its name.
    pub fn client(&self, number: usize, seed: u64) -> Client {
        Client::new(number, seed, self.record.clone())
    }

    /// What happened, when nothing happens any more. The first so many clients have keys of their own.
    pub async fn history(&self, owners: usize) -> Result<History> {
        // A fresh connection: others may have died on the road.
        let mut reader = self.client(READER, 0);
        // The state that remains is one more view.
        reader.list_as(false).await.context("the last listing")?;
        let chain = chain(&mut reader, &self.start_head).await?;
        let owned = (0..owners).map(|number| (number, own_prefix(number))).collect();
        let start_head = self.start_head.clone();
        let operations = self.record.operations.take();
        Ok(History { operations, chain, start_head, start: Content::new(), owned })
    }
}

/// What a client's own keys begin with.
pub fn own_prefix(client: usize) -> String {
    format!("own-{client:02}/")
}

async fn stage_and_commit(client: &mut Client, plan: Plan) -> Result<()> {
    let own = own_prefix(client.number);
    let mut commits = 0;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    while client.record.done.get() < plan.operations {
        let shared = format!("shared/{}", client.chance.below(SHARED_KEYS));
        match client.chance.below(100) {
            0..14 => {
                if let Some(value) = client.put(&shared, Expected::Anything, true).await? {
                    seen.insert(shared, value);
                }
            }
            14..20 => client.delete(&[shared], true).await?,
            20..26 => drop(client.put(&shared, Expected::Nothing, true).await?),
            26..34 => {
                if let Some(old) = seen.get(&shared).copied()
                    && let Some(new) = client.put(&shared, Expected::Exactly(old), true).await?
                {
                    seen.insert(shared, new);
                }
            }
            34..50 => match client.get(&shared).await {
                Some(value) => drop(seen.insert(shared, value)),
                None => drop(seen.remove(&shared)),
            },
            50..64 => {
                // A pair: the second is never there without the first.
                client.put(&format!("{own}a"), Expected::Anything, false).await?;
                client.put(&format!("{own}b"), Expected::Anything, false).await?;
            }
            64..70 => {
                for name in ["c", "d", "e"] {
                    client.put(&format!("{own}{name}"), Expected::Anything, false).await?;
                }
            }
            70..76 => {
                let group: Vec<String> = ["c", "d", "e"].iter().map(|name| format!("{own}{name}")).collect();
                client.delete(&group, false).await?;
            }
            76..86 => drop(client.list().await),
            86..95 => {
                commits += 1;
                client.commit(&format!("c{}-{commits}", client.number), true).await?;
            }
            _ => drop(client.head().await),
        }
    }
    Ok(())
}

async fn merge_rounds(client: &mut Client, plan: Plan) -> Result<()> {
    let record = client.record.clone();
    let mut round = 0;
    while record.done.get() < plan.operations {
        round += 1;
        let name = format!("m{}-{round}", client.number);
        let branch = format!("{}-{name}", record.branch);
        let (create, from) = (record.below("/branches"), json!({"name": branch, "source": record.branch}));
        client.prepare(|site| site.api("POST", &create, Some(&from))).await?;
        let mut added = Content::new();
        for half in ["a", "b"] {
            let key = format!("{name}/{half}");
            added.insert(key.clone(), client.put_elsewhere(&branch, &key).await?);
        }
        let (commit, body) = (record.below(&format!("/branches/{branch}/commits")), json!({"message": name}));
        client.prepare(|site| site.api("POST", &commit, Some(&body))).await?;
        client.merge(&branch, &name, added).await?;
        let gone = record.below(&format!("/branches/{branch}"));
        client.prepare(|site| site.api("DELETE", &gone, None)).await?;
        match client.chance.below(3) {
            0 => drop(client.list().await),
            1 => drop(client.head().await),
            _ => {}
        }
    }
    Ok(())
}

/// The first-parent chain above the start, oldest first, with all that each commit holds.
async fn chain(client: &mut Client, start_head: &str) -> Result<Vec<ChainLink>> {
    let record = client.record.clone();
    let (mut chain, mut after) = (Vec::new(), String::new());
    'pages: loop {
        let rest = format!("/refs/{}/commits?first_parent=true&amount=1000&after={after}", record.branch);
        let page = client.fetch(&record.below(&rest)).await?;
        for commit in page["results"].as_array().context("commits")? {
            let text = |name: &str| commit[name].as_str().unwrap_or_default().to_owned();
            if text("id") == start_head {
                break 'pages;
            }
            chain.push(ChainLink { id: text("id"), message: text("message"), content: Content::new() });
        }
        if page["pagination"]["has_more"] != true {
            break;
        }
        after = page["pagination"]["next_offset"].as_str().unwrap_or_default().to_owned();
    }
    chain.reverse();
    for link in &mut chain {
        let mut after = String::new();
        loop {
            let rest = format!("/refs/{}/objects/ls?amount=1000&after={after}", link.id);
            let page = client.fetch(&record.below(&rest)).await?;
            link.content.extend(record.content_of_page(&page));
            if page["pagination"]["has_more"] != true {
                break;
            }
            after = page["pagination"]["next_offset"].as_str().unwrap_or_default().to_owned();
        }
    }
    Ok(chain)
}
