//! Asking both servers what only the source takes.
//!
//! *Guarantees:* changes nothing: what is tried is queued in a transaction that is discarded, with
//! arguments by which it would do nothing either.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Value, cmd};

use super::rehearsal::{Categories, Gaps, Known, Questions, Rights, User, is_served, users};
use crate::protocol::command::{self, Command, Serve, Transaction};
use crate::protocol::databases::Databases;
use crate::protocol::resp::{Reply, Request};
use crate::server::{Answer, Broken, Connection, ServerInfo, Text};
use crate::value::probe_key;

/// Access rules of Redis 6.2.
const LATER_RULES: [&str; 3] = ["resetchannels", "sanitize-payload", "skip-sanitize-payload"];

/// Both servers.
pub(crate) struct Pair<'a> {
    pub(crate) source: &'a mut Connection,
    pub(crate) target: &'a mut Connection,
}

/// What is to be asked beyond the table.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    pub(crate) questions: Questions,
    pub(crate) databases: &'a Databases,
    /// Whether commands of administration pass.
    pub(crate) allow_admin: bool,
}

/// Which server a connection broke to.
#[derive(Debug)]
pub(crate) enum Lost {
    Source(Broken),
    Target(Broken),
}

/// What the source takes and the target does not.
pub(crate) async fn gaps(pair: Pair<'_>, scope: &Scope<'_>) -> Result<Gaps, Lost> {
    let here = One::ask(pair.source, &scope.questions).await.map_err(Lost::Source)?;
    let there = One::ask(pair.target, &scope.questions).await.map_err(Lost::Target)?;
    let mut gaps = Gaps {
        is_cluster: there.is_cluster,
        allow_admin: scope.allow_admin,
        source: here.known,
        target: there.known,
        ..Gaps::default()
    };
    let mine = here.users.unwrap_or_default();
    gaps.users = lesser(&mine, there.users.as_ref());
    let theirs = there.users.unwrap_or_default();
    gaps.lines = lines(&mine, &theirs, &gaps);
    gaps.rights = rights(&mine, &theirs, scope.allow_admin);
    let default = default_rights(pair.source, pair.target, scope.allow_admin).await?;
    gaps.rights.entry("default".to_owned()).or_default().forbidden = default;
    gaps.databases = databases(pair.source, pair.target, scope).await?;
    gaps.scripts = scripts(pair.source, pair.target, &scope.questions.scripts).await?;
    Ok(gaps)
}

/// What is known of one server.
struct One {
    known: Known,
    is_cluster: bool,
    users: Option<Accounts>,
}

/// The users of a server, who we are among them, and which commands are in which category.
#[derive(Default)]
struct Accounts {
    users: Vec<User>,
    own: String,
    categories: Categories,
}

impl Accounts {
    /// The one as whom somebody is served who logs in with this name.
    fn find(&self, name: &str) -> Option<&User> {
        let name = if name == "default" { self.own.as_str() } else { name };
        self.users.iter().find(|user| user.name == name)
    }
}

impl One {
    async fn ask(server: &mut Connection, questions: &Questions) -> Result<Self, Broken> {
        let info = server.info("").await?.unwrap_or_default();
        let capabilities = ServerInfo::of(&info).capabilities;
        let known = Known { capabilities, lacking: lacking(server, questions).await? };
        let is_cluster = info.number("cluster_enabled") == 1;
        Ok(Self { known, is_cluster, users: accounts(server).await? })
    }
}

/// The names that a server does not know, of the table's and of those in question; `None` where it
/// may not be asked. Before 7.0 it knows subcommands only by their container.
async fn lacking(
    server: &mut Connection,
    questions: &Questions,
) -> Result<Option<BTreeSet<String>>, Broken> {
    let table = command::table().iter().map(|command| command.name.to_owned());
    let names: Vec<String> = table.chain(questions.names.iter().cloned()).collect();
    let asked = names.iter().map(|name| name.replace(' ', "|"));
    let words = ["COMMAND", "INFO"].map(str::to_owned).into_iter().chain(asked);
    let reply = server.command(words).await?;
    let Some(entries) = reply.items().filter(|entries| entries.len() == names.len()) else {
        return Ok(None);
    };
    let told = names.into_iter().zip(entries);
    Ok(Some(told.filter(|(_, entry)| is_absent(entry)).map(|(name, _)| name).collect()))
}

fn is_absent(entry: &Reply) -> bool {
    entry.items().is_none_or(<[Reply]>::is_empty)
}

/// `None` where the server does not tell its users.
async fn accounts(server: &mut Connection) -> Result<Option<Accounts>, Broken> {
    let lines: Answer<Vec<Text>> = server.query(cmd("ACL").arg("LIST")).await?;
    let Ok(lines) = lines else { return Ok(None) };
    let own: Answer<Text> = server.query(cmd("ACL").arg("WHOAMI")).await?;
    let users = users(lines.iter().map(|line| line.0.as_str()));
    let categories = categories(server).await?;
    Ok(Some(Accounts { users, own: own.unwrap_or_default().0, categories }))
}

async fn categories(server: &mut Connection) -> Result<Categories, Broken> {
    let names: Answer<Vec<String>> = server.query(cmd("ACL").arg("CAT")).await?;
    let names = names.unwrap_or_default();
    let ask = |name: &String| Request::new(["ACL", "CAT", name]);
    let replies = server.ask_all(&names.iter().map(ask).collect::<Vec<_>>()).await?;
    let mut categories = Categories::default();
    for (name, reply) in names.iter().zip(replies) {
        let commands = reply.items().unwrap_or_default().iter().filter_map(Reply::text);
        categories.add(name, commands.map(|name| String::from_utf8_lossy(name).into_owned()));
    }
    Ok(categories)
}

/// Users of the source that the target lacks, or that may do something else there.
fn lesser(here: &Accounts, there: Option<&Accounts>) -> BTreeMap<String, String> {
    let named = here.users.iter().filter(|user| user.name != "default" && user.is_on());
    let judged = named.filter_map(|user| {
        let why = match there.map(|there| there.users.iter().find(|twin| twin.name == user.name)) {
            None => "the target does not tell whether it has this user",
            Some(None) => "the target lacks this user",
            Some(Some(twin)) if !twin.may_all_that(user) => {
                "this user has other rights or passwords on the target"
            }
            Some(Some(_)) => return None,
        };
        Some((user.name.clone(), why.to_owned()))
    });
    judged.collect()
}

/// What makes each of these users on the target, in its words.
fn lines(here: &Accounts, there: &Accounts, gaps: &Gaps) -> BTreeMap<String, String> {
    let takes = |rule: &str| takes(rule, &gaps.target, &there.categories);
    let wanted = here.users.iter().filter(|user| gaps.users.contains_key(&user.name));
    let line = |user: &User| match user.ungiven(takes).as_slice() {
        [] => user.creation(takes),
        ungiven => format!("{}   (it has no {})", user.creation(takes), ungiven.join(" ")),
    };
    wanted.map(|user| (user.name.clone(), line(user))).collect()
}

/// Whether a server takes an access rule.
fn takes(rule: &str, server: &Known, categories: &Categories) -> bool {
    let since = |major, minor| server.capabilities.since_redis(major, minor);
    match rule.split_at_checked(1) {
        Some(("+" | "-", what)) => names_known(what, server, categories),
        Some(("&", _)) => since(6, 2),
        Some(("%" | "(", _)) => since(7, 0),
        _ => since(6, 2) || !LATER_RULES.contains(&rule),
    }
}

/// Whether a server knows the command or the category that a rule names.
fn names_known(what: &str, server: &Known, categories: &Categories) -> bool {
    if let Some(category) = what.strip_prefix('@') {
        return category == "all" || categories.know(category);
    }
    let name = what.replace('|', " ").to_ascii_uppercase();
    let known = command::lookup(&Request::new(name.split(' ')));
    server.has(&name, known.map(|command| command.since))
}

/// What users of the same name may do on the source alone.
fn rights(here: &Accounts, there: &Accounts, allow_admin: bool) -> BTreeMap<String, Rights> {
    let names = here.users.iter().filter(|user| user.is_on()).map(|user| &user.name);
    let compared = names.filter_map(|name| {
        let (mine, theirs) = (here.find(name)?, there.find(name)?);
        let forbidden = served(allow_admin)
            .filter(|command| {
                mine.may(command.name, &here.categories)
                    && !theirs.may(command.name, &there.categories)
            })
            .map(|command| command.name);
        let patterns = |user: &User| user.key_patterns().collect::<BTreeSet<_>>();
        let all = |user: &User| patterns(user).contains("*");
        let narrower = !all(theirs) && patterns(mine) != patterns(theirs);
        let keys = narrower.then(|| (mine.clone(), theirs.clone()));
        Some((name.clone(), Rights { forbidden: forbidden.collect(), keys }))
    });
    compared.collect()
}

fn served(allow_admin: bool) -> impl Iterator<Item = &'static Command> {
    command::table().iter().filter(move |command| is_served(command.serve, allow_admin))
}

/// What the default user's stand-in on the target may not run, and on the source may. It is who we are
/// there, so it can be tried, whether we may read access lists or not.
async fn default_rights(
    source: &mut Connection,
    target: &mut Connection,
    allow_admin: bool,
) -> Result<BTreeSet<&'static str>, Lost> {
    let all: Vec<&'static Command> =
        served(allow_admin).filter(|command| is_tried(command)).collect();
    let there = forbidden(target, &all).await.map_err(Lost::Target)?;
    let here = forbidden(source, &there).await.map_err(Lost::Source)?;
    let names = |commands: &[&'static Command]| -> BTreeSet<_> {
        commands.iter().map(|command| command.name).collect()
    };
    Ok(&names(&there) - &names(&here))
}

/// Those of the commands that our user may not run.
async fn forbidden(
    server: &mut Connection,
    commands: &[&'static Command],
) -> Result<Vec<&'static Command>, Broken> {
    // Only a server that queues is told the others.
    let queues = [Request::new(["MULTI"]), Request::new(["PING"])];
    let opened = if commands.is_empty() { Vec::new() } else { server.ask_all(&queues).await? };
    let is_open = opened.first().is_some_and(Reply::is_ok)
        && opened.get(1).and_then(Reply::text).is_some_and(|text| text == "QUEUED");
    let mut refused = Vec::new();
    if is_open {
        let trials: Vec<Request> = commands.iter().map(|command| trial(command)).collect();
        let replies = server.ask_all(&trials).await?;
        let tried = commands.iter().zip(replies);
        refused.extend(tried.filter(|(_, reply)| is_forbidden(reply)).map(|(command, _)| *command));
    }
    if opened.first().is_some_and(Reply::is_ok) {
        server.command(["DISCARD"]).await?;
    }
    Ok(refused)
}

/// What would end or leave the transaction is not queued.
fn is_tried(command: &Command) -> bool {
    match command.serve {
        Serve::Transaction(kind) => !matches!(
            kind,
            Transaction::Multi | Transaction::Exec | Transaction::Discard | Transaction::Watch
        ),
        _ => true,
    }
}

/// The command with as many arguments as it needs. All of them are the name of a key that nobody has,
/// so that it would do nothing if it were run; `FLUSHALL` is one that needs none.
fn trial(command: &Command) -> Request {
    let key = probe_key();
    let name: Vec<&[u8]> = command.name.split(' ').map(str::as_bytes).collect();
    let least = usize::from(command.arity.unsigned_abs());
    let count = if command.arity < 0 { least.max(name.len() + 1) } else { least };
    let keys = count.saturating_sub(name.len());
    Request::new(name.into_iter().chain(std::iter::repeat_n(key.as_ref(), keys)))
}

/// Whether a user lacks the right to the command; to this key it may have none.
fn is_forbidden(reply: &Reply) -> bool {
    let Reply::Error(text) = reply else { return false };
    text.starts_with(b"NOPERM") && String::from_utf8_lossy(text).contains(" to run ")
}

/// The databases in question, and those that hold keys, that only the source has.
async fn databases(
    source: &mut Connection,
    target: &mut Connection,
    scope: &Scope<'_>,
) -> Result<BTreeSet<u32>, Lost> {
    let mut lacking = BTreeSet::new();
    for db in &scope.questions.databases {
        let Some(to) = scope.databases.to(*db) else { continue };
        if !selects(target, to).await.map_err(Lost::Target)?
            && selects(source, *db).await.map_err(Lost::Source)?
        {
            lacking.insert(*db);
        }
    }
    Ok(lacking)
}

/// Whether the server has this database; one that it may not be asked about counts as one that it has.
async fn selects(server: &mut Connection, db: u32) -> Result<bool, Broken> {
    let db = db.to_string();
    let requests = [Request::new(["SELECT", &db]), Request::new(["SELECT", "0"])];
    let replies = server.ask_all(&requests).await?;
    let refused =
        |reply: &Reply| matches!(reply, Reply::Error(text) if !text.starts_with(b"NOPERM"));
    Ok(!replies.first().is_some_and(refused))
}

/// The digests of those scripts that only the source has loaded.
async fn scripts(
    source: &mut Connection,
    target: &mut Connection,
    digests: &BTreeSet<String>,
) -> Result<BTreeSet<String>, Lost> {
    let here = loaded(source, digests).await.map_err(Lost::Source)?;
    let there = loaded(target, digests).await.map_err(Lost::Target)?;
    let (Some(here), Some(there)) = (here, there) else { return Ok(BTreeSet::new()) };
    Ok(&here - &there)
}

/// `None` where it does not tell.
async fn loaded(
    server: &mut Connection,
    digests: &BTreeSet<String>,
) -> Result<Option<BTreeSet<String>>, Broken> {
    if digests.is_empty() {
        return Ok(Some(BTreeSet::new()));
    }
    let digests: Vec<&String> = digests.iter().collect();
    let answer: Answer<Vec<Value>> =
        server.query(cmd("SCRIPT").arg("EXISTS").arg(&digests)).await?;
    let Ok(exist) = answer else { return Ok(None) };
    let there = digests.into_iter().zip(exist).filter(|(_, exists)| *exists == Value::Int(1));
    Ok(Some(there.map(|(digest, _)| digest.clone()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str) -> Vec<String> {
        let command = command::lookup(&Request::new(name.split(' '))).unwrap();
        trial(command).args().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
    }

    #[test]
    fn what_is_tried_would_do_nothing_if_it_were_run() {
        assert_eq!(asked("GET").len(), 2);
        assert_eq!(asked("XGROUP CREATE")[..2], ["XGROUP", "CREATE"]);
        for dangerous in ["FLUSHALL", "FLUSHDB", "SCRIPT FLUSH", "FUNCTION FLUSH"] {
            let last = asked(dangerous).pop().unwrap();
            assert!(last.starts_with("crossfade:probe:"), "{dangerous}");
        }
    }

    #[test]
    fn only_the_right_to_the_command_counts() {
        let reply = |text: &'static str| Reply::Error(text.into());
        assert!(is_forbidden(&reply(
            "NOPERM this user has no permissions to run the 'get' command or its subcommand"
        )));
        assert!(is_forbidden(&reply(
            "NOPERM User app has no permissions to run the 'get' command"
        )));
        assert!(!is_forbidden(&reply("NOPERM No permissions to access a key")));
        assert!(!is_forbidden(&reply("ERR wrong number of arguments")));
        assert!(!is_forbidden(&Reply::Simple("QUEUED".into())));
    }
}
