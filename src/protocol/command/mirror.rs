//! How a write's effect is carried to the secondary.

/// The rule by which the effect of a write is made; `effect` holds the rules themselves. "Checked"
/// means that the expiry of the written key is compared too, since the command may create it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirror {
    /// Not a write.
    Never,
    /// As it came; both replies must be equal.
    Verbatim,
    /// As [`Mirror::Verbatim`], unless the reply says that nothing changed.
    Counted,
    /// As [`Mirror::Verbatim`], checked.
    Creates,
    /// As [`Mirror::Counted`], checked.
    CountedCreates,
    /// As [`Mirror::Counted`] from the first key to the second, which is checked.
    Transfer,
    /// As it came; its result does not depend on what was there.
    Total,
    /// The written keys are copied again.
    Recopy,
    /// The declared keys are copied again, after an error too: a script may have written before it.
    Script,
    /// `FLUSHDB`, `FLUSHALL`, `SCRIPT FLUSH`: as it came, without options that the secondary lacks.
    Flush,
    /// `FUNCTION LOAD` with `REPLACE`.
    FunctionLoad,
    /// `SET key value PXAT`, if it was set.
    Set,
    /// `SETNX` that succeeded becomes `SET`.
    SetIfAbsent,
    /// `SETEX`, `PSETEX` become `SET key value PXAT`.
    SetExpiring,
    /// `GETSET` becomes `SET`.
    GetSet,
    /// `MSETNX` that succeeded becomes `MSET`.
    MSetIfAbsent,
    /// `PEXPIREAT` or `PERSIST`, whichever came of it.
    GetEx,
    /// `DEL`, if the key was there and the condition met.
    Removed,
    /// `SET key sum PXAT`.
    IncrByFloat,
    /// `PEXPIREAT`, if the condition was met.
    Expire,
    /// `RESTORE … REPLACE ABSTTL`.
    Restore,
    /// `RENAMENX` that succeeded becomes `RENAME`.
    RenameIfAbsent,
    /// `HSETNX` that succeeded becomes `HSET`.
    HSetIfAbsent,
    /// `HSET key field sum`, checked; with `HPEXPIREAT` when the field ends.
    HIncrByFloat,
    /// `HPEXPIREAT` of the fields that were given an end, `HDEL` of those that had come to it.
    HExpire,
    /// `HGETEX` with `PXAT` or `PERSIST`, whichever came of it.
    HGetEx,
    /// `HSET`, checked, and `HPEXPIREAT`, if they were set.
    HSetEx,
    /// `HDEL` of the fields that were there.
    HGetDel,
    /// `LPOP` or `RPOP` of the key that the reply names, and as many as it holds.
    PopElsewhere,
    /// `LPOP` or `RPOP` of the key that the reply names.
    BlockingPop,
    /// `LPOP` or `RPOP` of as many as there were.
    Pop,
    /// `LMOVE` or `RPOPLPUSH`, checked; a pop and a push where neither will do.
    Move,
    /// `SREM` of the members in the reply.
    SPop,
    /// `ZREM` of the members in the reply.
    ZPop,
    /// `ZREM` of the members in the reply, from the key that it names.
    ZPopElsewhere,
    /// `ZREM` of the member in the reply, from the key that it names.
    BlockingZPop,
    /// `ZADD key score member`.
    ZIncrBy,
    /// As it came, checked; with `INCR`, `ZADD key score member`.
    ZAdd,
    /// With the ID of the reply; approximate trimming becomes `XTRIM MINID`.
    XAdd,
    /// Approximate trimming becomes `XTRIM MINID`.
    XTrim,
    /// With the ID that the group had afterwards.
    XGroupPosition,
    /// The consumer is made, if it was made.
    XGroupConsumer,
    /// `XCLAIM` of what was delivered, and `XGROUP SETID`.
    XReadGroup,
    /// With the time made absolute, if everything was claimed.
    XClaim,
    /// `XCLAIM` of what was claimed, `XACK` of what was found deleted.
    XAutoClaim,
}

impl Mirror {
    /// A few words for the table in `deploy/COMMANDS.md`.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Never => "",
            Self::Verbatim | Self::Counted => "as it is, replies compared",
            Self::Creates | Self::CountedCreates | Self::Transfer => {
                "as it is, replies and expiry compared"
            }
            Self::Total => "as it is",
            Self::Flush => "as it is, in its place among all writes",
            Self::Recopy | Self::Script => "written keys are copied again",
            Self::FunctionLoad => "`FUNCTION LOAD REPLACE`",
            Self::Set => "`SET`, if it was set, with absolute expiry",
            Self::SetIfAbsent => "`SET`, if it was set",
            Self::SetExpiring | Self::IncrByFloat => "`SET` with absolute expiry",
            Self::GetSet => "`SET`",
            Self::MSetIfAbsent => "`MSET`, if they were set",
            Self::GetEx => "`PEXPIREAT` or `PERSIST`",
            Self::Removed => "`DEL`, if it was there",
            Self::Expire => "`PEXPIREAT`, if it was set",
            Self::Restore => "`RESTORE` with `REPLACE ABSTTL`",
            Self::RenameIfAbsent => "`RENAME`, if it was renamed",
            Self::HSetIfAbsent => "`HSET`, if it was set",
            Self::HIncrByFloat => "`HSET`, `HPEXPIREAT` if the field ends",
            Self::HExpire => "`HPEXPIREAT`, if it was set",
            Self::HGetEx => "`HGETEX` with absolute expiry or `PERSIST`, values compared",
            Self::HSetEx => "`HSET` and `HPEXPIREAT`, if they were set",
            Self::HGetDel => "`HDEL` of what was there",
            Self::PopElsewhere | Self::BlockingPop | Self::Pop => {
                "`LPOP` or `RPOP`, elements compared"
            }
            Self::Move => "`LMOVE` or `RPOPLPUSH`, elements and expiry compared",
            Self::SPop => "`SREM` of the members",
            Self::ZPop | Self::ZPopElsewhere | Self::BlockingZPop => "`ZREM` of the members",
            Self::ZIncrBy => "`ZADD` of the score",
            Self::ZAdd => "as it is, replies and expiry compared; `INCR` as `ZADD` of the score",
            Self::XAdd => "with its ID; `~` as `XTRIM MINID`",
            Self::XTrim => "`~` as `XTRIM MINID`, replies compared",
            Self::XGroupPosition => "with the ID that the group got",
            Self::XGroupConsumer => "as it is, if it was made",
            Self::XReadGroup => "`XCLAIM` of the entries, `XGROUP SETID`",
            Self::XClaim => "with absolute time; copied again unless all were claimed",
            Self::XAutoClaim => "`XCLAIM` of the entries, `XACK` of deleted ones",
        }
    }
}
