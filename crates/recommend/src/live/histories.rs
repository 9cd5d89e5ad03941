//! The newest events of each user, in blocks of eight out of one pool, so that memory is bounded and stays in place.
//!
//! Where there is no room for a user or a block, the one who was active least recently is forgotten; the fitted model
//! still knows what it was fitted on.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One event as it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Kept {
    /// The item's position in the table.
    pub(crate) item: u32,
    pub(crate) ds: i64,
    pub(crate) weight: f32,
    /// The position of its kind among those met while serving.
    pub(crate) kind: u8,
    pub(crate) purchase: bool,
    /// Whether the model knows it, and `kind` is a position among the model's kinds.
    pub(crate) known: bool,
}

/// Events of one block.
const BLOCK: usize = 8;
/// Locks at most.
const SHARDS_MAX: usize = 64;
/// No user, no block.
const NONE: u32 = u32::MAX;

/// Columns, so that an event takes 18 bytes.
#[derive(Clone, Copy)]
struct Block {
    ds: [i64; BLOCK],
    item: [u32; BLOCK],
    weight: [f32; BLOCK],
    kind: [u8; BLOCK],
    /// One bit each.
    purchase: u8,
    len: u8,
    next: u32,
}

const EMPTY: Block = Block {
    ds: [0; BLOCK],
    item: [0; BLOCK],
    weight: [0.0; BLOCK],
    kind: [0; BLOCK],
    purchase: 0,
    len: 0,
    next: NONE,
};

impl Block {
    fn push(&mut self, e: Kept) {
        let at = usize::from(self.len);
        (self.ds[at], self.item[at], self.weight[at], self.kind[at]) = (e.ds, e.item, e.weight, e.kind);
        self.purchase |= u8::from(e.purchase) << at;
        self.len += 1;
    }

    fn events(&self) -> impl Iterator<Item = Kept> + '_ {
        (0..usize::from(self.len)).map(|k| Kept {
            item: self.item[k],
            ds: self.ds[k],
            weight: self.weight[k],
            kind: self.kind[k],
            purchase: self.purchase >> k & 1 == 1,
            known: false,
        })
    }
}

struct User {
    name: Arc<str>,
    first: u32,
    last: u32,
    len: u32,
    /// Neighbours in the order of last activity.
    older: u32,
    newer: u32,
}

struct Shard {
    index: HashMap<Arc<str>, u32>,
    users: Vec<User>,
    free_users: Vec<u32>,
    blocks: Vec<Block>,
    free_blocks: Vec<u32>,
    oldest: u32,
    newest: u32,
    bounds: Bounds,
}

#[derive(Clone, Copy)]
struct Bounds {
    users: usize,
    blocks: usize,
    events_of_user: usize,
}

/// The histories of all.
pub(crate) struct Histories {
    shards: Vec<Mutex<Shard>>,
}

impl Histories {
    pub(crate) fn new(users_max: usize, events_max: usize, user_events_max: usize) -> Self {
        let n = (users_max / 16).clamp(1, SHARDS_MAX);
        // One user's events have room in any case.
        let least = user_events_max.div_ceil(BLOCK) + 2;
        let bounds = Bounds {
            users: users_max / n,
            blocks: (events_max / BLOCK / n).max(least),
            events_of_user: user_events_max,
        };
        Self { shards: (0..n).map(|_| Mutex::new(Shard::new(bounds))).collect() }
    }

    fn shard(&self, name: &str) -> MutexGuard<'_, Shard> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        // The upper half, since the maps inside use the lower one.
        let at = (hasher.finish() >> 32) as usize % self.shards.len();
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an event and gives those that were there before, in the order of time.
    pub(crate) fn push(&self, name: &str, event: Kept, before: &mut Vec<Kept>) {
        self.shard(name).push(name, event, before);
    }

    /// The events of one user in the order of time.
    pub(crate) fn of(&self, name: &str) -> Vec<Kept> {
        let shard = self.shard(name);
        let mut out = Vec::new();
        if let Some(user) = shard.index.get(name) {
            shard.read(*user, &mut out);
        }
        out
    }

    /// How many users there are, and how many events there is memory for.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |sum, shard| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            (sum.0 + shard.index.len(), sum.1 + shard.blocks.len() * BLOCK)
        })
    }
}

impl Shard {
    fn new(bounds: Bounds) -> Self {
        Self {
            index: HashMap::new(),
            users: vec![],
            free_users: vec![],
            blocks: vec![],
            free_blocks: vec![],
            oldest: NONE,
            newest: NONE,
            bounds,
        }
    }

    fn push(&mut self, name: &str, event: Kept, before: &mut Vec<Kept>) {
        let user = match self.index.get(name) {
            Some(user) => {
                let user = *user;
                self.unlink(user);
                user
            }
            None => self.add_user(name),
        };
        self.link(user);
        self.read(user, before);
        if before.last().is_none_or(|last| last.ds <= event.ds) {
            self.append(user, event);
            return;
        }
        // Late: all is written anew, the event in its place.
        let at = before.partition_point(|e| e.ds <= event.ds);
        self.clear(user);
        before[..at].iter().for_each(|e| self.append(user, *e));
        self.append(user, event);
        before[at..].iter().for_each(|e| self.append(user, *e));
    }

    fn add_user(&mut self, name: &str) -> u32 {
        while self.index.len() >= self.bounds.users && self.oldest != NONE {
            self.forget(self.oldest);
        }
        let name: Arc<str> = name.into();
        let user = User { name: name.clone(), first: NONE, last: NONE, len: 0, older: NONE, newer: NONE };
        let at = match self.free_users.pop() {
            Some(at) => {
                self.users[at as usize] = user;
                at
            }
            None => {
                self.users.push(user);
                self.users.len() as u32 - 1
            }
        };
        self.index.insert(name, at);
        at
    }

    fn unlink(&mut self, user: u32) {
        let User { older, newer, .. } = self.users[user as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.users[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.users[newer as usize].older = older,
        }
    }

    /// Puts a user who stands nowhere at the newest place.
    fn link(&mut self, user: u32) {
        (self.users[user as usize].older, self.users[user as usize].newer) = (self.newest, NONE);
        match self.newest {
            NONE => self.oldest = user,
            newest => self.users[newest as usize].newer = user,
        }
        self.newest = user;
    }

    fn forget(&mut self, user: u32) {
        self.unlink(user);
        self.clear(user);
        self.index.remove(&self.users[user as usize].name);
        self.free_users.push(user);
    }

    fn clear(&mut self, user: u32) {
        let mut block = self.users[user as usize].first;
        while block != NONE {
            self.free_blocks.push(block);
            block = self.blocks[block as usize].next;
        }
        let user = &mut self.users[user as usize];
        (user.first, user.last, user.len) = (NONE, NONE, 0);
    }

    fn read(&self, user: u32, out: &mut Vec<Kept>) {
        out.clear();
        let mut block = self.users[user as usize].first;
        while block != NONE {
            out.extend(self.blocks[block as usize].events());
            block = self.blocks[block as usize].next;
        }
        // The first block goes as a whole only when all in it is beyond the bound.
        let beyond = out.len().saturating_sub(self.bounds.events_of_user);
        out.drain(..beyond);
    }

    fn append(&mut self, user: u32, event: Kept) {
        let last = self.users[user as usize].last;
        if last == NONE || usize::from(self.blocks[last as usize].len) == BLOCK {
            let block = self.block(user);
            match self.users[user as usize].last {
                NONE => self.users[user as usize].first = block,
                last => self.blocks[last as usize].next = block,
            }
            self.users[user as usize].last = block;
        }
        let last = self.users[user as usize].last;
        self.blocks[last as usize].push(event);
        let (first, len) = {
            let user = &mut self.users[user as usize];
            user.len += 1;
            (user.first, user.len as usize)
        };
        if first != last && len - usize::from(self.blocks[first as usize].len) >= self.bounds.events_of_user {
            let block = self.blocks[first as usize];
            self.free_blocks.push(first);
            let user = &mut self.users[user as usize];
            user.first = block.next;
            user.len -= u32::from(block.len);
        }
    }

    /// An empty block, if need be of those who were active least recently, but never of `user`, who is the newest.
    fn block(&mut self, user: u32) -> u32 {
        while self.free_blocks.is_empty() && self.blocks.len() >= self.bounds.blocks && self.oldest != user {
            self.forget(self.oldest);
        }
        match self.free_blocks.pop() {
            Some(block) => {
                self.blocks[block as usize] = EMPTY;
                block
            }
            None => {
                self.blocks.push(EMPTY);
                self.blocks.len() as u32 - 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(item: u32, ds: i64) -> Kept {
        Kept { item, ds, weight: 1.0, kind: 0, purchase: item.is_multiple_of(2), known: false }
    }

    proptest! {
        #[test]
        fn the_newest_events_are_kept_in_order(
            events in prop::collection::vec((0_usize..6, 0_u32..100, 0_i64..40), 1..400),
            user_events_max in 1_usize..30,
        ) {
            let all = Histories::new(1000, 1_000_000, user_events_max);
            let mut truth: [Vec<Kept>; 6] = Default::default();
            let mut before = vec![];
            for (user, item, ds) in &events {
                let (name, of) = (format!("u{user}"), &mut truth[*user]);
                all.push(&name, kept(*item, *ds), &mut before);
                prop_assert_eq!(&before[..], &of[of.len().saturating_sub(user_events_max)..]);
                let at = of.partition_point(|e| e.ds <= *ds);
                of.insert(at, kept(*item, *ds));
                let start = of.len().saturating_sub(user_events_max);
                prop_assert_eq!(&all.of(&name)[..], &of[start..]);
                // What fell out must not come back by a late event.
                if of.len() > user_events_max + BLOCK || at < start {
                    of.drain(..start);
                }
                let seen = all.of(&name);
                if of.len() > seen.len() {
                    let n = of.len() - seen.len();
                    of.drain(..n);
                }
            }
        }

        #[test]
        fn bounds_hold_and_the_least_recent_go(
            events in prop::collection::vec((0_usize..60, 0_u32..100), 1..600),
            users_max in 1_usize..14,
            blocks in 1_usize..30,
        ) {
            // One shard, so that the order is one.
            let all = Histories::new(users_max, blocks * BLOCK, 20);
            let mut order: Vec<usize> = vec![];
            let mut before = vec![];
            for (k, (user, item)) in events.iter().enumerate() {
                all.push(&format!("u{user}"), kept(*item, k as i64), &mut before);
                order.retain(|u| u != user);
                order.push(*user);
                let (users, room) = all.size();
                prop_assert!(users <= users_max && room <= blocks.max(5) * BLOCK);
                let newest = all.of(&format!("u{user}")).last().copied();
                prop_assert_eq!(newest, Some(kept(*item, k as i64)));
                // Those remembered are the most recent ones.
                for (place, u) in order.iter().rev().enumerate() {
                    prop_assert_eq!(!all.of(&format!("u{u}")).is_empty(), place < users);
                }
            }
        }
    }
}
