//! The way to the broker, and the word that helps when a name is wrong.

use std::time::Duration;

use ganger_shared::Rejection;
use ganger_shared::admin::{AdminAnswer, AdminVerb};
use ganger_worker::{Client, Error, Options, key_file};

use crate::args::Common;
use crate::exit::{Failure, Result};

/// How long a command tries to get a broken connection back: a minute, enough for a broker to be
/// restarted and short enough for a script to notice.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects as the command line says.
pub(crate) async fn connect(common: &Common) -> Result<Client> {
    let path = common.key_file.clone().unwrap_or_else(key_file::default_path);
    let key = key_file::read(&path)?;
    let options =
        Options { reconnect_timeout: Some(PATIENCE), ..Options::new(&common.broker, key) };
    Ok(Client::connect(options).await?)
}

/// Asks as an operator.
pub(crate) async fn admin(client: &Client, verb: AdminVerb) -> Result<AdminAnswer> {
    match client.admin(verb).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(explained(client, error).await),
    }
}

/// An answer to a question that was not asked.
pub(crate) fn strange() -> Failure {
    Failure::new(1, "the broker answered another question")
        .with_advice("is it of the same version? `ganger status` shows it")
}

/// The failure, with the name that was probably meant.
pub(crate) async fn explained(client: &Client, error: Error) -> Failure {
    let Error::Rejected(Rejection::NotFound { what, name }) = &error else {
        return error.into();
    };
    let meant = match what.as_str() {
        "queue" => similar(name, &queue_names(client).await),
        "list" => similar(name, &list_names(client).await),
        "object" => similar(name, &object_names(client).await),
        _ => None,
    };
    let meant = meant.map(|meant| format!("did you mean {meant}?"));
    let failure = Failure::from(error);
    match meant {
        Some(advice) => failure.with_advice(advice),
        None => failure,
    }
}

async fn queue_names(client: &Client) -> Vec<String> {
    match client.admin(AdminVerb::QueueList).await {
        Ok(AdminAnswer::Queues(queues)) => queues.iter().map(|q| q.name.to_string()).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

async fn list_names(client: &Client) -> Vec<String> {
    match client.admin(AdminVerb::ListList).await {
        Ok(AdminAnswer::Lists(lists)) => lists.iter().map(|l| l.name.to_string()).collect(),
        Ok(_) | Err(_) => Vec::new(),
    }
}

async fn object_names(client: &Client) -> Vec<String> {
    let lists = list_names(client).await;
    match client.admin(AdminVerb::ObjectList).await {
        Ok(AdminAnswer::Objects(objects)) => {
            objects.iter().map(|o| o.name.to_string()).chain(lists).collect()
        }
        Ok(_) | Err(_) => lists,
    }
}

/// The name that `name` was probably meant to be.
fn similar(name: &str, names: &[String]) -> Option<String> {
    let results = format!("{name}.results");
    if names.contains(&results) {
        return Some(results);
    }
    // It may have been made since it was missed.
    let names = names.iter().filter(|other| *other != name);
    let likeness = |other: &&String| strsim::jaro_winkler(name, other);
    let best = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.8).then(|| best.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slip_of_the_finger_is_forgiven_and_a_stranger_is_not_suggested() {
        let names = ["mail", "thumbs", "thumbs.results"].map(str::to_owned);
        assert_eq!(similar("maill", &names).as_deref(), Some("mail"));
        assert_eq!(similar("thumbs", &names).as_deref(), Some("thumbs.results"));
        assert_eq!(similar("invoices", &names), None);
    }
}
