//! Rules of the machines that a test can switch off, to show that their absence is noticed. Owns which one is; outside
//! of tests there is nothing to own, and every rule is kept. Decides nothing.

use std::marker::PhantomData;

/// Which of the rules `R` of a machine are kept: all but the one that a test has switched off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<R> {
    #[cfg(test)]
    broken: Option<R>,
    of: PhantomData<R>,
}

impl<R> Default for Rules<R> {
    fn default() -> Self {
        Self {
            #[cfg(test)]
            broken: None,
            of: PhantomData,
        }
    }
}

#[cfg(test)]
impl<R: Copy + PartialEq> Rules<R> {
    pub(crate) fn without(broken: Option<R>) -> Self {
        Self { broken, of: PhantomData }
    }

    pub(crate) fn keep(&self, rule: R) -> bool {
        self.broken != Some(rule)
    }
}

#[cfg(not(test))]
impl<R> Rules<R> {
    #[expect(clippy::unused_self, reason = "only tests break rules")]
    pub(crate) fn keep(&self, _rule: R) -> bool {
        true
    }
}
