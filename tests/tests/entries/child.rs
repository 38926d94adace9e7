//! A consumer in a process of its own, to be killed: this very program, started again.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use streamkeeper::{Client, CommitError, Commits, Lease};
use streamkeeper_tests::process::Process;

use crate::stage::{SERVICE, Stage, block_on};

/// What tells a child from a test.
const NAME: &str = "STREAMKEEPER_ENTRIES_CHILD";
const URL: &str = "STREAMKEEPER_ENTRIES_URL";

/// Starts a consumer that keeps a ledger: the numbers of each stream in the list `log:<stream>`, their sum in `total`,
/// written with the commit.
pub(crate) fn start(stage: &Stage, name: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "child::is_one", "--nocapture"]).env(NAME, name).env(URL, stage.server.url());
    Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// No test, but the child's main function; as a test it does nothing.
#[test]
fn is_one() {
    let (Ok(name), Ok(url)) = (std::env::var(NAME), std::env::var(URL)) else { return };
    block_on(async {
        let client = Client::builder(SERVICE).redis(url).name(name);
        let client = client.lease_ttl(Duration::from_secs(2)).heartbeat(Duration::from_millis(500));
        let client = client.call_timeout(Duration::from_millis(500)).start().await.unwrap();
        client.run(keep_ledger).await.unwrap();
    });
}

async fn keep_ledger(lease: Lease) -> Result<(), CommitError> {
    let mut entries = lease.read().batch(7).commits(Commits::Manual).open::<u64>();
    while let Some(batch) = entries.next_batch().await {
        let Ok(batch) = batch else { continue };
        let Some(last) = batch.last() else { continue };
        let numbers: Vec<String> = batch.iter().map(|entry| entry.value.to_string()).collect();
        let sum = batch.iter().map(|entry| entry.value).sum::<u64>();
        let log = format!("log:{}", lease.stream());
        let committing = lease.commit_with(last.id, |writes| {
            writes.rpush(log, &numbers).incr_by("total", i64::try_from(sum).unwrap());
        });
        match committing.await {
            // What was forgotten comes again.
            Ok(()) | Err(CommitError::RolledBack { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    std::future::pending().await
}
