use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use redis::Cmd;

use super::link::{Asked, Door, Node};
use super::url::Address;
use super::{Answer, RedisFault};

/// The server, or all of a cluster that is known: which node has which slot, as `MOVED` said.
pub(super) struct Nodes {
    door: Door,
    first: Arc<Node>,
    learned: Mutex<Learned>,
}

#[derive(Default)]
struct Learned {
    nodes: HashMap<Address, Arc<Node>>,
    slots: HashMap<u16, Arc<Node>>,
}

impl Nodes {
    pub(super) fn new(door: Door) -> Self {
        let first = Arc::new(Node::new(door.first.clone()));
        Self { door, first, learned: Mutex::default() }
    }

    pub(super) async fn check(&self) -> Result<(), RedisFault> {
        self.first.connect(&self.door).await
    }

    pub(super) async fn ask(&self, slot: u16, command: &Cmd) -> Result<Answer, RedisFault> {
        let mut node = self.of(slot);
        for _ in 0..=MOVES {
            match node.ask(&self.door, command).await {
                Ok(Asked::Answered(answer)) => return Ok(answer),
                Ok(Asked::Moved(address)) => node = self.learn(slot, address),
                Err(fault) => {
                    self.unlearn(&node);
                    return Err(fault);
                }
            }
        }
        Err(RedisFault::Undecided)
    }

    fn of(&self, slot: u16) -> Arc<Node> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(learned.slots.get(&slot).unwrap_or(&self.first))
    }

    fn learn(&self, slot: u16, address: Address) -> Arc<Node> {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let Learned { nodes, slots } = &mut *learned;
        if nodes.len() >= MOST_NODES && !nodes.contains_key(&address) {
            nodes.clear();
            slots.clear();
        }
        let node = nodes.entry(address.clone()).or_insert_with(|| Arc::new(Node::new(address)));
        slots.insert(slot, Arc::clone(node));
        Arc::clone(node)
    }

    /// After a fault the first server is asked again who has what: another may have taken over.
    fn unlearn(&self, node: &Arc<Node>) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        if learned.nodes.remove(&node.address).is_some() {
            learned.slots.retain(|_, kept| !Arc::ptr_eq(kept, node));
        }
    }
}

/// How often a use is sent on from one node to another.
const MOVES: usize = 3;

/// A cluster has no more nodes than that.
///
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>
const MOST_NODES: usize = 1000;
