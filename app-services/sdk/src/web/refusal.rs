//! The enum of what a service refuses.

/// Makes the error type of a service's handlers: what it refuses, each with its HTTP status, its word and its title, beside what the SDK reports
/// (`Sdk`), what another service refused (`Peer`) and what isn't valid in the request (`Invalid`).
///
/// The type ends transactions ([`FromSdk`](crate::FromSdk)), is the answer of an axum handler, and becomes a gRPC status.
///
/// ```
/// ringway_sdk::refusals! {
///     /// What accounts refuse.
///     pub enum Refusal {
///         /// The balance doesn't suffice.
///         TooLittle = CONFLICT "too-little" "there is not enough on the account",
///     }
/// }
/// let problem = ringway_sdk::web::Problem::from(Refusal::TooLittle);
/// assert_eq!((problem.status, &*problem.kind), (409, "too-little"));
/// ```
#[macro_export]
macro_rules! refusals {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$doc:meta])* $variant:ident = $status:ident $kind:literal $title:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        $vis enum $name {
            $( $(#[$doc])* $variant, )*
            /// A value in the request that can't be; this is why.
            Invalid(String),
            /// Another service's answer.
            Peer($crate::web::Problem),
            /// The SDK's error.
            Sdk($crate::Error),
        }

        impl From<$crate::Error> for $name {
            fn from(error: $crate::Error) -> Self {
                Self::Sdk(error)
            }
        }

        impl From<$crate::rpc::Status> for $name {
            fn from(status: $crate::rpc::Status) -> Self {
                Self::Peer($crate::web::Problem::from(status))
            }
        }

        impl From<$crate::Malformed> for $name {
            fn from(malformed: $crate::Malformed) -> Self {
                Self::Invalid(malformed.to_string())
            }
        }

        impl From<$crate::Invalid> for $name {
            fn from(invalid: $crate::Invalid) -> Self {
                Self::Invalid(invalid.0)
            }
        }

        impl $crate::FromSdk for $name {
            fn as_sdk(&self) -> Option<&$crate::Error> {
                match self {
                    Self::Sdk(error) => Some(error),
                    _ => None,
                }
            }
        }

        impl From<$name> for $crate::web::Problem {
            fn from(refusal: $name) -> Self {
                match refusal {
                    $( $name::$variant => Self::new($crate::web::status::$status, $kind, $title), )*
                    $name::Invalid(detail) => Self::invalid(detail),
                    $name::Peer(problem) => problem.of_peer(),
                    $name::Sdk(error) => Self::from(error),
                }
            }
        }

        impl From<$name> for $crate::rpc::Status {
            fn from(refusal: $name) -> Self {
                Self::from($crate::web::Problem::from(refusal))
            }
        }

        impl $crate::web::IntoResponse for $name {
            fn into_response(self) -> $crate::web::Response {
                $crate::web::IntoResponse::into_response($crate::web::Problem::from(self))
            }
        }
    };
}
