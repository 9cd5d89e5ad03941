//! Loops compiled for the widest vectors that the processor has.

/// What makes a closure one that can be called but once, by being used up in it.
///
/// A closure that could be called again is reached through a call which is compiled for every processor, and then what is
/// within gets the vectors that all of them have.
pub(crate) struct Once;

impl Once {
    #[inline(always)]
    pub(crate) fn used(self) {}
}

/// Runs a block compiled for the vectors that the processor has.
macro_rules! vectorised {
    ($body:block) => {{
        let once = $crate::vector::Once;
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                once.used();
                $body
            },
        )
    }};
}

pub(crate) use vectorised;
