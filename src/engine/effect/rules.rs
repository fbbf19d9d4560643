//! The rules, a file for each type of value.
//!
//! A rule returns `None` where the reply does not say enough: then the keys are copied again. It
//! never sees an error as the reply.

mod context;
mod hashes;
mod keys;
mod lists;
mod sets;
mod streams;
mod strings;
mod verbatim;

use context::ask_expiry;

use super::{Executed, Outcome, Probes};
use crate::protocol::capability::Capabilities;
use crate::protocol::command::{Command, Mirror};
use crate::protocol::resp::Request;

pub(super) fn probes(command: &Command, request: &Request, primary: &Capabilities) -> Probes {
    match command.mirror {
        Mirror::Creates
        | Mirror::CountedCreates
        | Mirror::IncrByFloat
        | Mirror::SetExpiring
        | Mirror::GetEx
        | Mirror::Expire
        | Mirror::Restore
        | Mirror::HSetIfAbsent
        | Mirror::ZIncrBy
        | Mirror::ZAdd => ask_expiry(request, 1, primary),
        Mirror::Transfer | Mirror::Move | Mirror::RenameIfAbsent => ask_expiry(request, 2, primary),
        Mirror::HExpire | Mirror::HGetEx => hashes::ask_listed(request, 0),
        Mirror::HSetEx => both(ask_expiry(request, 1, primary), hashes::ask_listed(request, 1)),
        Mirror::HIncrByFloat => {
            both(ask_expiry(request, 1, primary), hashes::ask_one(request, primary))
        }
        Mirror::Set => strings::set_probes(request, primary),
        Mirror::XAdd => streams::add_probes(request, primary),
        Mirror::XTrim => streams::trim_probes(request),
        Mirror::XGroupPosition => streams::position_probes(request, primary),
        Mirror::XReadGroup => streams::read_probes(command, request),
        Mirror::XClaim | Mirror::XAutoClaim => Probes::from_iter([Request::new(["TIME"])]),
        _ => Probes::new(),
    }
}

fn both(mut first: Probes, second: Probes) -> Probes {
    first.extend(second);
    first
}

pub(super) fn outcome(executed: &Executed<'_>) -> Outcome {
    if executed.command.mirror == Mirror::Script {
        return Outcome::Recopy;
    }
    if executed.reply.is_error() {
        return Outcome::Nothing;
    }
    rule(executed).unwrap_or(Outcome::Recopy)
}

fn rule(executed: &Executed<'_>) -> Option<Outcome> {
    match executed.command.mirror {
        Mirror::Never => Some(Outcome::Nothing),
        Mirror::Recopy | Mirror::Script => None,
        Mirror::Verbatim => verbatim::same(executed),
        Mirror::Counted => verbatim::counted(executed),
        Mirror::Creates => verbatim::creates(executed),
        Mirror::CountedCreates => verbatim::counted_creates(executed),
        Mirror::Transfer => verbatim::transfer(executed),
        Mirror::Total => verbatim::total(executed),
        Mirror::Flush => keys::flush(executed),
        Mirror::FunctionLoad => keys::function_load(executed),
        Mirror::Set => strings::set(executed),
        Mirror::SetIfAbsent => strings::set_if_absent(executed),
        Mirror::SetExpiring => strings::set_expiring(executed),
        Mirror::GetSet => strings::get_set(executed),
        Mirror::MSetIfAbsent => Some(strings::mset_if_absent(executed)),
        Mirror::IncrByFloat => strings::incr_by_float(executed),
        Mirror::GetEx => keys::get_and_expire(executed),
        Mirror::Removed => keys::removed(executed),
        Mirror::Expire => keys::expire(executed),
        Mirror::Restore => keys::restore(executed),
        Mirror::RenameIfAbsent => keys::rename_if_absent(executed),
        Mirror::HSetIfAbsent => hashes::set_if_absent(executed),
        Mirror::HIncrByFloat => hashes::incr_by_float(executed),
        Mirror::HExpire => hashes::expire(executed),
        Mirror::HGetEx => hashes::get_and_expire(executed),
        Mirror::HSetEx => hashes::set_and_expire(executed),
        Mirror::HGetDel => hashes::get_and_delete(executed),
        Mirror::PopElsewhere => lists::pop_elsewhere(executed),
        Mirror::BlockingPop => lists::blocking_pop(executed),
        Mirror::Pop => lists::pop(executed),
        Mirror::Move => lists::moved(executed),
        Mirror::SPop => sets::spop(executed),
        Mirror::ZPop => sets::zpop(executed),
        Mirror::ZPopElsewhere => sets::zpop_elsewhere(executed),
        Mirror::BlockingZPop => sets::blocking_zpop(executed),
        Mirror::ZIncrBy => sets::zincr_by(executed),
        Mirror::ZAdd => sets::zadd(executed),
        Mirror::XAdd => streams::add(executed),
        Mirror::XTrim => streams::trim(executed),
        Mirror::XGroupPosition => streams::position(executed),
        Mirror::XGroupConsumer => streams::made_consumer(executed),
        Mirror::XReadGroup => streams::read_group(executed),
        Mirror::XClaim => streams::claim(executed),
        Mirror::XAutoClaim => streams::auto_claim(executed),
    }
}

#[cfg(test)]
mod tests;
