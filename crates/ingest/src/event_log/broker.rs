//! What logs at brokers have in common: checks before a broker is asked, and dead letters by their numbers.

use super::error::Result;
use super::{Appended, DeadLetter, Event, EventLog, LogMetrics, Member, Start, check, check_group};
use futures::future::BoxFuture;
use std::collections::HashSet;
use std::future::Future;

/// A log at a broker, by what is its own. Whoever is asked has been checked.
pub(crate) trait Broker: Send + Sync {
    /// Refuses when the log was closed.
    fn check_open(&self) -> Result<()>;

    /// Appends events, for all groups or (`only_for` not empty) for one.
    fn publish(&self, events: &[Event], only_for: &str) -> impl Future<Output = Result<Appended>> + Send;

    /// A new member of a group.
    fn member(&self, group: &str, start: Start) -> impl Future<Output = Result<Box<dyn Member>>> + Send;

    /// Dead letters of a group, oldest first, at most `letters_max`.
    fn letters(
        &self,
        group: &str,
        letters_max: usize,
    ) -> impl Future<Output = Result<Vec<DeadLetter>>> + Send;

    /// Dead letters of a group by their numbers, each of which is named once, without those that are not there.
    fn numbered(&self, group: &str, numbers: &[u64]) -> impl Future<Output = Result<Vec<DeadLetter>>> + Send;

    /// Deletes a dead letter.
    fn remove(&self, letter: &DeadLetter) -> impl Future<Output = Result<()>> + Send;

    /// Sizes and lags now.
    fn sizes(&self) -> impl Future<Output = Result<LogMetrics>> + Send;

    /// Lets go of the broker.
    fn leave(&self) -> impl Future<Output = Result<()>> + Send;
}

impl<B: Broker> EventLog for B {
    fn append<'a>(&'a self, events: &'a [Event]) -> BoxFuture<'a, Result<Appended>> {
        Box::pin(async move {
            check(events)?;
            self.check_open()?;
            self.publish(events, "").await
        })
    }

    fn join<'a>(&'a self, group: &'a str, start: Start) -> BoxFuture<'a, Result<Box<dyn Member>>> {
        Box::pin(async move {
            check_group(group)?;
            self.check_open()?;
            self.member(group, start).await
        })
    }

    fn dead_letters<'a>(
        &'a self,
        group: &'a str,
        letters_max: usize,
    ) -> BoxFuture<'a, Result<Vec<DeadLetter>>> {
        Box::pin(async move {
            check_group(group)?;
            self.check_open()?;
            if letters_max == 0 {
                return Ok(vec![]);
            }
            self.letters(group, letters_max).await
        })
    }

    fn replay<'a>(&'a self, group: &'a str, numbers: &'a [u64]) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            check_group(group)?;
            self.check_open()?;
            let letters = self.numbered(group, &once(numbers)).await?;
            for letter in &letters {
                self.publish(std::slice::from_ref(&letter.event), group).await?;
                self.remove(letter).await?;
            }
            Ok(letters.len())
        })
    }

    fn delete_dead_letters<'a>(&'a self, group: &'a str, numbers: &'a [u64]) -> BoxFuture<'a, Result<usize>> {
        Box::pin(async move {
            check_group(group)?;
            self.check_open()?;
            let letters = self.numbered(group, &once(numbers)).await?;
            for letter in &letters {
                self.remove(letter).await?;
            }
            Ok(letters.len())
        })
    }

    fn metrics(&self) -> BoxFuture<'_, Result<LogMetrics>> {
        Box::pin(async move {
            self.check_open()?;
            self.sizes().await
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.leave())
    }
}

/// Each number once, in order.
fn once(numbers: &[u64]) -> Vec<u64> {
    let mut seen = HashSet::with_capacity(numbers.len());
    numbers.iter().copied().filter(|number| seen.insert(*number)).collect()
}
