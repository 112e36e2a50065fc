//! The tags of both directions.

use crate::error::WireError;
use crate::frame::{MAX_AUTH_LEN, MAX_LARGE_LEN, MAX_SMALL_LEN};

macro_rules! tags {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $byte:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$doc])* $variant = $byte,)*
        }

        impl $name {
            /// Every tag of this direction.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// The byte on the wire.
            #[inline]
            pub fn byte(self) -> u8 {
                match self { $($name::$variant => $byte,)* }
            }
        }

        impl TryFrom<u8> for $name {
            type Error = WireError;

            #[inline]
            fn try_from(byte: u8) -> Result<Self, WireError> {
                match byte {
                    $($byte => Ok($name::$variant),)*
                    unknown => Err(WireError::UnknownTag(unknown)),
                }
            }
        }
    };
}

tags! {
    /// What a client may send once it is past the startup packet.
    FrontendTag {
        /// Bind.
        Bind = b'B',
        /// Close of a statement or portal.
        Close = b'C',
        /// A piece of COPY data.
        CopyData = b'd',
        /// The end of COPY data.
        CopyDone = b'c',
        /// COPY given up by the client.
        CopyFail = b'f',
        /// Describe of a statement or portal.
        Describe = b'D',
        /// Execute of a portal.
        Execute = b'E',
        /// Flush.
        Flush = b'H',
        /// FunctionCall (fastpath).
        FunctionCall = b'F',
        /// Parse.
        Parse = b'P',
        /// Query of the simple protocol.
        Query = b'Q',
        /// Sync.
        Sync = b'S',
        /// Terminate.
        Terminate = b'X',
        /// PasswordMessage, SASLInitialResponse or SASLResponse: the exchange under way decides which.
        Password = b'p',
    }
}

impl FrontendTag {
    /// The longest frame of this type, as PostgreSQL bounds it.
    pub fn max_len(self) -> usize {
        match self {
            FrontendTag::Query
            | FrontendTag::Parse
            | FrontendTag::Bind
            | FrontendTag::FunctionCall
            | FrontendTag::CopyData => MAX_LARGE_LEN,
            FrontendTag::Password => MAX_AUTH_LEN,
            FrontendTag::Close
            | FrontendTag::CopyDone
            | FrontendTag::CopyFail
            | FrontendTag::Describe
            | FrontendTag::Execute
            | FrontendTag::Flush
            | FrontendTag::Sync
            | FrontendTag::Terminate => MAX_SMALL_LEN,
        }
    }

    /// Whether a batch of requests is complete with this message, so that it is time to have a backend.
    pub fn ends_batch(self) -> bool {
        matches!(
            self,
            FrontendTag::Query | FrontendTag::Sync | FrontendTag::Flush | FrontendTag::FunctionCall
        )
    }
}

tags! {
    /// What a server may send.
    BackendTag {
        /// Any of the Authentication messages.
        Authentication = b'R',
        /// BackendKeyData.
        BackendKeyData = b'K',
        /// BindComplete.
        BindComplete = b'2',
        /// CloseComplete.
        CloseComplete = b'3',
        /// CommandComplete.
        CommandComplete = b'C',
        /// A piece of COPY data.
        CopyData = b'd',
        /// The end of COPY data.
        CopyDone = b'c',
        /// The server is ready for COPY data.
        CopyInResponse = b'G',
        /// The server will send COPY data.
        CopyOutResponse = b'H',
        /// Streaming replication starts.
        CopyBothResponse = b'W',
        /// DataRow.
        DataRow = b'D',
        /// EmptyQueryResponse.
        EmptyQueryResponse = b'I',
        /// ErrorResponse.
        ErrorResponse = b'E',
        /// FunctionCallResponse.
        FunctionCallResponse = b'V',
        /// NegotiateProtocolVersion.
        NegotiateProtocolVersion = b'v',
        /// NoData.
        NoData = b'n',
        /// NoticeResponse.
        NoticeResponse = b'N',
        /// NotificationResponse.
        NotificationResponse = b'A',
        /// ParameterDescription.
        ParameterDescription = b't',
        /// ParameterStatus.
        ParameterStatus = b'S',
        /// ParseComplete.
        ParseComplete = b'1',
        /// PortalSuspended.
        PortalSuspended = b's',
        /// ReadyForQuery.
        ReadyForQuery = b'Z',
        /// RowDescription.
        RowDescription = b'T',
    }
}

impl BackendTag {
    /// Whether the server may send this at any moment, unrelated to what was asked.
    pub fn is_asynchronous(self) -> bool {
        matches!(
            self,
            BackendTag::NoticeResponse | BackendTag::NotificationResponse | BackendTag::ParameterStatus
        )
    }
}
