//! The other ways into a list: frames that append, pop, confirm and look, and results of jobs.

use std::collections::BTreeMap;

use bytes::Bytes;
use ganger_shared::request::{Notify, WhenFull};
use ganger_shared::response::Items;
use ganger_shared::{
    Block, JobOptions, LeaseRange, Outcome, Rejection, Request, RequestId, Response, ResultsTo,
    SessionId, Settlement, SubscriptionId,
};

use super::{Client, History};
use crate::objects::desk::{answered, name};
use crate::objects::model::{Item, List, Model};

/// What a client has popped of one list.
#[derive(Debug, Default)]
pub(super) struct Reader {
    receipt: u64,
    /// By receipt: not confirmed.
    popped: BTreeMap<u64, Vec<Item>>,
}

#[derive(Debug)]
pub(super) struct WaitingPop {
    pub(super) client: usize,
    list: usize,
    request: RequestId,
    receipt: u64,
    max: u32,
}

/// The queue whose results go to lists.
const QUEUE: &str = "work";

/// Its only subscription, in each session.
const SUBSCRIPTION: SubscriptionId = SubscriptionId(1);

fn strings(items: &[Items]) -> Vec<Bytes> {
    items.iter().flat_map(|items| items.block.iter()).collect()
}

impl History<'_> {
    fn list(&mut self, list: usize) -> &mut List {
        let Some(Model::List(list)) = &mut self.objects[list].model else { panic!("no list") };
        list
    }

    pub(super) fn list_frame(&mut self) {
        let lists = self.objects.iter().enumerate().filter(|(_, o)| o.typeid == "list/1");
        let lists: Vec<usize> = lists.map(|(index, _)| index).collect();
        let (list, client) = (*self.rng.pick(&lists), self.online());
        match self.rng.below(10) {
            0..=2 => self.append(client, list),
            3..=4 => self.pop(client, list),
            5 => self.confirm(client, list),
            6 => self.range(client, list),
            7 if self.plan.items_max > 1_000 => self.submit(client, list),
            _ => self.settle(client),
        }
    }

    fn append(&mut self, client: usize, list: usize) {
        let words: [&[u8]; 5] = [b"x", b"1", b"{\"j\": 1}", b"\xff", b"[1, 2]"];
        let items: Block = (0..self.rng.between(1..=3)).map(|_| *self.rng.pick(&words)).collect();
        let seq = self.clients[client].next_seq;
        self.clients[client].next_seq += 1;
        let request = Request::Append {
            request: self.desk.request(),
            list: name(&self.objects[list].name),
            seq,
            items: items.clone(),
        };
        let told = self.ask(client, request);
        let limit = self.plan.items_max;
        let found = self.list(list);
        if found.items.len() + found.popped.len() + items.count() as usize > limit {
            let Response::Rejected { rejection, .. } = &told[0].1 else { panic!("{told:?}") };
            assert!(matches!(rejection, Rejection::ListFull { .. }), "{rejection}");
            return;
        }
        items.iter().for_each(|item| found.append_string(&item));
        self.hear_pops(&told);
        let length = self.list(list).items.len() as u64;
        assert!(
            told.iter().any(
                |(_, r)| matches!(r, Response::Length { length: told, .. } if *told == length)
            )
        );
    }

    fn pop(&mut self, client: usize, list: usize) {
        let reader = self.clients[client].readers.entry(list).or_default();
        reader.receipt += 1;
        let receipt = reader.receipt;
        let latest = reader.popped.keys().copied().max().unwrap_or(0);
        let confirmed = if self.rng.percent(50) { latest } else { 0 };
        self.confirmed(client, list, confirmed);
        let max = u32::try_from(self.rng.between(1..=4)).unwrap();
        let wait_ms = if self.rng.percent(40) { self.rng.between(1..=2_500) } else { 0 };
        let request = self.desk.request();
        self.pops.push(WaitingPop { client, list, request, receipt, max });
        let list = name(&self.objects[list].name);
        let pop = Request::Pop { request, list, receipt, confirmed, max, wait_ms };
        let told = self.ask(client, pop);
        self.hear_pops(&told);
    }

    /// What the client has popped up to a receipt is gone for good.
    fn confirmed(&mut self, client: usize, list: usize, receipt: u64) {
        let Some(reader) = self.clients[client].readers.get_mut(&list) else { return };
        let later = reader.popped.split_off(&(receipt + 1));
        let gone = std::mem::replace(&mut reader.popped, later);
        let gone: Vec<Item> = gone.into_values().flatten().collect();
        self.list(list).forget(&gone);
    }

    fn confirm(&mut self, client: usize, list: usize) {
        let Some(reader) = self.clients[client].readers.get(&list) else { return };
        let Some(&receipt) = reader.popped.keys().next() else { return };
        self.confirmed(client, list, receipt);
        let list = name(&self.objects[list].name);
        let told = self.ask(client, Request::Confirm { list, receipt });
        self.hear_pops(&told);
    }

    fn range(&mut self, client: usize, list: usize) {
        let count = u32::try_from(self.rng.between(1..=9)).unwrap();
        let (request, named) = (self.desk.request(), name(&self.objects[list].name));
        let told = self.ask(client, Request::Range { request, list: named, start: 0, count });
        let Response::Items { length, items, .. } = &told[0].1 else { panic!("{told:?}") };
        let (found, seen) = (self.list(list), strings(items));
        assert_eq!(*length, found.items.len() as u64, "length of a list");
        let expected = found.items.iter().take(seen.len()).map(Item::string);
        assert!(expected.eq(seen.iter().cloned()), "{seen:?} of {found:?}");
        assert!(seen.len() <= count as usize && (!seen.is_empty() || found.items.is_empty()));
    }

    /// Takes what pops were answered.
    pub(super) fn hear_pops(&mut self, told: &[(SessionId, Response)]) {
        for (session, response) in told {
            match response {
                Response::Items { items, .. } => self.popped(response, &strings(items)),
                Response::Assign { first_lease, jobs, .. } => {
                    let client = self.clients.iter_mut().find(|c| c.session == *session).unwrap();
                    client
                        .leases
                        .extend((first_lease.0..).map(ganger_shared::LeaseId).zip(jobs.iter()));
                }
                Response::Fenced { leases } => {
                    let client = self.clients.iter_mut().find(|c| c.session == *session).unwrap();
                    client.leases.retain(|(l, _)| !(leases.first.0..leases.end()).contains(&l.0));
                }
                _ => {}
            }
        }
    }

    fn popped(&mut self, response: &Response, strings: &[Bytes]) {
        let at = self.pops.iter().position(|pop| Some(pop.request) == answered(response));
        let Some(at) = at else { return };
        let WaitingPop { client, list, receipt, max, .. } = self.pops.remove(at);
        let found = self.list(list);
        assert!(strings.len() <= max as usize);
        let items = found.pop(strings.len());
        let expected: Vec<Bytes> = items.iter().map(Item::string).collect();
        assert_eq!(strings, expected, "items of {found:?}");
        if !items.is_empty() {
            self.clients[client].readers.entry(list).or_default().popped.insert(receipt, items);
        }
    }

    /// Whoever is away for longer than the grace has popped nothing.
    pub(super) fn put_back_of_the_gone(&mut self) {
        for client in 0..self.clients.len() {
            let Client { session, is_online, .. } = self.clients[client];
            if !is_online && self.desk.is_gone(session) {
                self.put_back(client);
                self.clients[client].leases.clear();
            }
        }
    }

    pub(super) fn put_back(&mut self, client: usize) {
        for (list, reader) in &mut std::mem::take(&mut self.clients[client].readers) {
            let items = std::mem::take(&mut reader.popped).into_values().flatten().collect();
            self.list(*list).put_back(items);
            let receipt = reader.receipt;
            let kept = Reader { receipt, popped: BTreeMap::new() };
            self.clients[client].readers.insert(*list, kept);
        }
    }

    // --- jobs

    fn submit(&mut self, client: usize, list: usize) {
        let mut options = JobOptions::new(name("h"));
        options.results = ResultsTo::List(name(&self.objects[list].name));
        let count = self.rng.between(1..=2);
        let first_seq = self.clients[client].next_seq;
        self.clients[client].next_seq += count;
        let payloads: Block = (0..count).map(|_| self.objects[list].name.as_bytes()).collect();
        let submit = Request::Submit {
            request: self.desk.request(),
            queue: name(QUEUE),
            first_seq,
            options,
            payloads,
            when_full: WhenFull::Refuse,
            notify: Notify::No,
        };
        let told = self.ask(client, submit);
        self.hear_pops(&told);
        let credit = 2;
        let subscribe =
            Request::Subscribe { subscription: SUBSCRIPTION, queue: name(QUEUE), credit };
        let told = self.ask(client, subscribe);
        self.hear_pops(&told);
    }

    /// Some client is done with a job.
    fn settle(&mut self, client: usize) {
        let Some((lease, job)) = self.clients[client].leases.pop() else { return };
        let output = format!("{{\"of\":{}}}", job.seq);
        // Where the results of a job go is what its payload says; the broker knows for itself.
        let list = self.desk.payload_of(job);
        let outcome = Outcome::Ack { outputs: [&output].iter().map(|o| o.as_bytes()).collect() };
        let settlements = vec![Settlement { leases: LeaseRange::one(lease), outcome }];
        let request = self.desk.request();
        let told = self.ask(client, Request::Settle { request, settlements });
        let lost = told
            .iter()
            .any(|(_, r)| matches!(r, Response::Settled { lost, .. } if !lost.is_empty()));
        if let (false, Some(list)) = (lost, list) {
            let list = self.objects.iter().position(|object| object.name.as_bytes() == list);
            self.list(list.unwrap()).append_string(&output.into());
        }
        self.hear_pops(&told);
    }
}
