//! What kind of application a layer-7 protocol serves, and how far it is to be trusted.

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
        )]
        #[serde(rename_all = "snake_case")]
        pub enum $type {
            $($(#[$doc])* $variant,)+
        }

        impl $type {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The snake-case name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// The kind with this name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

named! {
    /// What an application is for.
    AppCategory {
        /// Not known.
        #[default]
        Unspecified = "unspecified",
        /// Web pages and APIs.
        Web = "web",
        /// Names, addresses, routing, time: what keeps a network running.
        Network = "network",
        /// Mail.
        Mail = "mail",
        /// Messages between people.
        Chat = "chat",
        /// Telephony and conferences.
        Voip = "voip",
        /// Audio on demand and radio.
        Music = "music",
        /// Video on demand.
        Video = "video",
        /// Sound and picture as they happen, whatever the application.
        Streaming = "streaming",
        /// Files fetched or shared between peers.
        Download = "download",
        /// Files stored or moved.
        FileTransfer = "file_transfer",
        /// Network file systems and shares.
        FileSharing = "file_sharing",
        /// Databases and caches.
        Database = "database",
        /// Terminals and screens from afar.
        RemoteAccess = "remote_access",
        /// Tunnels and private networks.
        Vpn = "vpn",
        /// Proxies and anonymisers.
        Proxy = "proxy",
        /// Games.
        Game = "game",
        /// Social networks.
        SocialNetwork = "social_network",
        /// Work together: documents, meetings, tickets.
        Collaborative = "collaborative",
        /// Storage and computing of cloud providers.
        Cloud = "cloud",
        /// Updates of software.
        SoftwareUpdate = "software_update",
        /// Between programs: remote calls, queues.
        Rpc = "rpc",
        /// Machines, sensors, buildings.
        Iot = "iot",
        /// Industrial control.
        Industrial = "industrial",
        /// Operation of machines: management, monitoring, logs.
        System = "system",
        /// Who is who: authentication, directories.
        Authentication = "authentication",
        /// Advertisements and trackers.
        Advertisement = "advertisement",
        /// Shops and payment.
        Shopping = "shopping",
        /// News and reference.
        Media = "media",
        /// Artificial intelligence services.
        ArtificialIntelligence = "artificial_intelligence",
        /// Crypto currencies and their miners.
        CryptoCurrency = "crypto_currency",
    }
}

named! {
    /// How far an application is to be trusted.
    Breed {
        /// No opinion.
        #[default]
        Unrated = "unrated",
        /// Encrypted and authenticated by design.
        Safe = "safe",
        /// Usual, though not protected.
        Acceptable = "acceptable",
        /// Leisure.
        Fun = "fun",
        /// Tracks people.
        Tracker = "tracker",
        /// Passwords or contents can be read or changed on the way.
        Unsafe = "unsafe",
        /// Often against the rules of a network: file sharing, tunnels around filters.
        PotentiallyDangerous = "potentially_dangerous",
        /// Mostly used for harm.
        Dangerous = "dangerous",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_wire_and_read_back() {
        for category in AppCategory::ALL {
            assert_eq!(serde_json::to_string(category).unwrap(), format!("\"{}\"", category.name()));
            assert_eq!(AppCategory::parse(category.name()), Some(*category));
        }
        for breed in Breed::ALL {
            assert_eq!(serde_json::to_string(breed).unwrap(), format!("\"{}\"", breed.name()));
            assert_eq!(Breed::parse(breed.name()), Some(*breed));
        }
    }
}
