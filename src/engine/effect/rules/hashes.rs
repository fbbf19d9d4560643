//! Hashes, and their fields that end by themselves (since Redis 7.4 and Valkey 9).
//!
//! The primary is asked right behind a write that gives ends when the fields end now. Where that does
//! not tell one end for all of them, the key is copied again.

use bytes::Bytes;

use super::context::{answers, same, steps, succeeds, with_items};
use crate::engine::effect::{Executed, Expiry, Outcome, Probes, Step};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Builder, Reply, Request, parse_integer};

pub(super) fn set_if_absent(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    let (key, field, value) = (executed.arg(1)?, executed.arg(2)?, executed.arg(3)?);
    executed.checked(key, [answers(Request::new([b"HSET", key, field, value]), 1)])
}

/// `HSET` would take the field's end away, which `HINCRBYFLOAT` keeps: it is given again.
pub(super) fn incr_by_float(executed: &Executed<'_>) -> Option<Outcome> {
    executed.set_fields(&[executed.request.arg_bytes(2)?, executed.reply.text()?.clone()])
}

/// `HGETDEL key FIELDS n field…` answers with a value for each field that was there.
pub(super) fn get_and_delete(executed: &Executed<'_>) -> Option<Outcome> {
    let key = executed.arg(1)?;
    let values = executed.reply.items()?;
    let mut fields = Vec::new();
    for (index, value) in values.iter().enumerate() {
        if *value != Reply::Null {
            fields.push(executed.request.arg_bytes(index + 4)?);
        }
    }
    if fields.is_empty() {
        return Some(Outcome::Nothing);
    }
    Some(steps([answers(with_items([b"HDEL", key], &fields), fields.len())]))
}

/// What asks when the fields that `request` lists end; behind each of them are `values` arguments.
pub(super) fn ask_listed(request: &Request, values: usize) -> Probes {
    let fields = listed(request, values).unwrap_or_default();
    let fields: Vec<Bytes> = fields.into_iter().step_by(1 + values).collect();
    ask(request, &fields)
}

/// What asks when the field at argument 2 ends, of a server on which one can.
pub(super) fn ask_one(request: &Request, primary: &Capabilities) -> Probes {
    let field = request.arg_bytes(2).filter(|_| primary.expires_hash_fields());
    field.map(|field| ask(request, &[field])).unwrap_or_default()
}

fn ask(request: &Request, fields: &[Bytes]) -> Probes {
    let key = request.arg(1).filter(|_| !fields.is_empty());
    key.map(|key| with_fields(&[b"HPEXPIRETIME", key], fields)).into_iter().collect()
}

/// `HEXPIRE` and its kin. To each field the answer is 1 when it was given its end, 2 when that had
/// come already and the field is gone.
pub(super) fn expire(executed: &Executed<'_>) -> Option<Outcome> {
    let (key, codes) = (executed.arg(1)?, executed.reply.items()?);
    let fields = listed(executed.request, 0)?;
    let answered = |code: i64| -> Vec<Bytes> {
        let pairs = fields.iter().zip(codes).filter(|(_, answer)| answer.integer() == Some(code));
        pairs.map(|(field, _)| field.clone()).collect()
    };
    let (ending, gone) = (answered(1), answered(2));
    let mut told = Vec::new();
    if !ending.is_empty() {
        let chosen = codes.iter().map(|answer| answer.integer() == Some(1));
        let Expiry::At(time) = executed.common_end(executed.probes, chosen)? else { return None };
        told.push(executed.expire_fields_at(key, time, &ending)?);
    }
    if !gone.is_empty() {
        told.push(answers(with_items([b"HDEL", key], &gone), gone.len()));
    }
    Some(if told.is_empty() { Outcome::Nothing } else { steps(told) })
}

/// `HGETEX` with an option: with the end that the fields have now, and the values compared.
pub(super) fn get_and_expire(executed: &Executed<'_>) -> Option<Outcome> {
    let (key, values) = (executed.arg(1)?, executed.reply.items()?);
    let there = values.iter().map(|value| *value != Reply::Null);
    if !there.clone().any(|there| there) {
        return Some(Outcome::Nothing);
    }
    let fields = listed(executed.request, 0).filter(|_| executed.secondary_knows_it())?;
    let told = match executed.common_end(executed.probes, there)? {
        Expiry::Missing => return None,
        Expiry::Never => with_fields(&[b"HGETEX", key, b"PERSIST"], &fields),
        Expiry::At(time) => {
            with_fields(&[b"HGETEX", key, b"PXAT", time.to_string().as_bytes()], &fields)
        }
    };
    Some(steps([same(told, executed.reply)]))
}

/// `HSETEX`, if its condition was met.
pub(super) fn set_and_expire(executed: &Executed<'_>) -> Option<Outcome> {
    if executed.changed_nothing() {
        return Some(Outcome::Nothing);
    }
    executed.set_fields(&listed(executed.request, 1)?)
}

impl Executed<'_> {
    /// `HSET` of fields, with their values behind them, that all have the end which the probe
    /// behind the one for the key's expiry tells; without that probe they have none.
    pub(super) fn set_fields(&self, items: &[Bytes]) -> Option<Outcome> {
        let key = self.arg(1)?;
        let set = succeeds(with_items([b"HSET", key], items));
        if !self.primary.expires_hash_fields() {
            return self.checked(key, [set]);
        }
        match self.common_end(self.later_probes(), std::iter::repeat(true))? {
            Expiry::Missing => None,
            Expiry::Never => self.checked(key, [set]),
            Expiry::At(time) => {
                let fields: Vec<Bytes> = items.iter().step_by(2).cloned().collect();
                self.checked(key, [set, self.expire_fields_at(key, time, &fields)?])
            }
        }
    }

    /// `HPEXPIREAT`, which every one of these fields is there to take; `None` where there is no such
    /// thing.
    fn expire_fields_at(&self, key: &[u8], time: i64, fields: &[Bytes]) -> Option<Step> {
        let request = with_fields(&[b"HPEXPIREAT", key, time.to_string().as_bytes()], fields);
        let all_set = Reply::Array(vec![Reply::Integer(1); fields.len()]);
        self.secondary.expires_hash_fields().then(|| same(request, &all_set))
    }

    /// The end that all `chosen` fields have, on the secondary's clock.
    fn common_end(
        &self,
        probes: &[Reply],
        chosen: impl IntoIterator<Item = bool>,
    ) -> Option<Expiry> {
        let ends = probes.first()?.items()?.iter().zip(chosen).filter(|(_, chosen)| *chosen);
        let mut ends = ends.map(|(end, _)| end.integer());
        let first = ends.next()??;
        let shared = ends.all(|end| end == Some(first));
        shared.then(|| Expiry::from_answer(first, 0).shifted(self.clock_offset))
    }
}

/// The fields behind `FIELDS`, each with as many values behind it.
fn listed(request: &Request, values: usize) -> Option<Vec<Bytes>> {
    let place = (2..request.len()).find(|index| request.is(*index, "FIELDS"))?;
    let count = usize::try_from(parse_integer(request.arg(place + 1)?)?).ok()?;
    let end = count.checked_mul(1 + values)?.checked_add(place + 2)?;
    (place + 2..end).map(|index| request.arg_bytes(index)).collect()
}

fn with_fields(head: &[&[u8]], fields: &[Bytes]) -> Request {
    let mut builder = Builder::default();
    for arg in head {
        builder.push(arg);
    }
    builder.push(b"FIELDS").push_count(fields.len());
    for field in fields {
        builder.push(field);
    }
    builder.finish()
}
