//! What is told of reads that the secondary is asked too.

use crate::metrics::latency::Histogram;
use crate::pipeline::Environment;
use crate::status::{Shadow, Times, Unlike};
use crate::verify;

pub(super) fn status(env: &Environment) -> Shadow {
    let tally = &env.reads;
    let (equal, different, refused) = (tally.equal(), tally.different(), tally.refused());
    let discarded = tally.discarded() + env.shadow.dropped();
    Shadow {
        percent: env.shadow.percent(),
        sampled: equal + different + refused + discarded,
        equal,
        different,
        refused,
        discarded,
        source: took(&tally.source),
        target: took(&tally.target),
        unlike: tally.unlike().into_iter().map(unlike).collect(),
    }
}

fn took(histogram: &Histogram) -> Times {
    let counts = histogram.counts();
    times(|share| Histogram::quantile(&counts, &[], share))
}

fn unlike(verify::Unlike { db, key, command }: verify::Unlike) -> Unlike {
    Unlike { db, key, command }
}

pub(super) fn times(quantile: impl Fn(f64) -> Option<f64>) -> Times {
    Times { p50: quantile(0.5), p99: quantile(0.99) }
}
