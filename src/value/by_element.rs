//! The other server's view of a part: the same elements, asked for by name.

use bytes::Bytes;

use super::ReadError;
use super::answer::Answer;
use super::reader::{field, field_ends};
use crate::protocol::capability::Capabilities;
use crate::protocol::resp::{Builder, Reply, Request};
use crate::server::Connection;
use crate::value::diff::{Field, Part};

/// The elements of `part` that this server has too. Parts of ordered values have no counterpart:
/// they are read side by side.
pub(super) async fn counterpart(
    part: &Part,
    key: &[u8],
    server: &Capabilities,
    from: &mut Connection,
) -> Result<Option<Part>, ReadError> {
    Ok(Some(match part {
        Part::Members(members) => Part::Members(present(members, key, server, from).await?),
        Part::Scored(scored) => Part::Scored(scores(scored, key, server, from).await?),
        Part::Fields(fields) => Part::Fields(values(fields, key, server, from).await?),
        _ => return Ok(None),
    }))
}

async fn present(
    members: &[Bytes],
    key: &[u8],
    server: &Capabilities,
    from: &mut Connection,
) -> Result<Vec<Bytes>, ReadError> {
    let requests = if server.since_redis(6, 2) {
        vec![many("SMISMEMBER", key, members.iter())]
    } else {
        each("SISMEMBER", key, members.iter())
    };
    let mut found = Vec::with_capacity(members.len());
    for (member, answer) in members.iter().zip(answers(&requests, members.len(), from).await?) {
        if answer.integer()? == 1 {
            found.push(member.clone());
        }
    }
    Ok(found)
}

async fn scores(
    scored: &[(Bytes, f64)],
    key: &[u8],
    server: &Capabilities,
    from: &mut Connection,
) -> Result<Vec<(Bytes, f64)>, ReadError> {
    let members = scored.iter().map(|(member, _)| member);
    let requests = if server.since_redis(6, 2) {
        vec![many("ZMSCORE", key, members)]
    } else {
        each("ZSCORE", key, members)
    };
    let mut found = Vec::with_capacity(scored.len());
    for ((member, _), answer) in scored.iter().zip(answers(&requests, scored.len(), from).await?) {
        if let Some(score) = answer.optional() {
            found.push((member.clone(), score.parse()?));
        }
    }
    Ok(found)
}

async fn values(
    fields: &[Field],
    key: &[u8],
    server: &Capabilities,
    from: &mut Connection,
) -> Result<Vec<Field>, ReadError> {
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<_> = fields.iter().map(|field| field.name.clone()).collect();
    let request = many("HMGET", key, names.iter());
    let values = answers(&[request], names.len(), from).await?;
    let ends = field_ends(key, &names, server, from).await?;
    let mut found = Vec::with_capacity(fields.len());
    for ((name, value), end) in names.into_iter().zip(values).zip(ends) {
        if let Some(value) = value.optional() {
            found.extend(field(name, value.text()?, end));
        }
    }
    Ok(found)
}

fn many<'a>(command: &str, key: &[u8], elements: impl Iterator<Item = &'a Bytes>) -> Request {
    let mut request = Builder::default();
    request.push(command.as_bytes()).push(key);
    for element in elements {
        request.push(element);
    }
    request.finish()
}

fn each<'a>(command: &str, key: &[u8], elements: impl Iterator<Item = &'a Bytes>) -> Vec<Request> {
    elements.map(|element| Request::new([command.as_bytes(), key, element])).collect()
}

/// One answer an element, whether one command asked for all or one for each.
async fn answers(
    requests: &[Request],
    elements: usize,
    from: &mut Connection,
) -> Result<Vec<Answer>, ReadError> {
    // An empty page of a scan is nothing to ask for.
    if elements == 0 {
        return Ok(Vec::new());
    }
    let mut answers = Vec::with_capacity(elements);
    for reply in from.ask_all(requests).await? {
        match reply {
            Reply::Array(items) => {
                for item in items {
                    answers.push(Answer::new(item, "a look-up")?);
                }
            }
            reply => answers.push(Answer::new(reply, "a look-up")?),
        }
    }
    Ok(answers)
}
