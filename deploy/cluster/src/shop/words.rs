//! The words that names, titles and notes are made of.

pub(super) const FIRST_NAMES: &[&str] = &[
    "Ada", "Aisha", "Alan", "Amara", "Ana", "Anton", "Beatriz", "Bo", "Carlos", "Chen", "Chloé", "Dalia",
    "David", "Elena", "Emre", "Fatima", "Félix", "Grace", "Hana", "Hugo", "Ines", "Ivan", "Jamal", "João",
    "Jun", "Kofi", "Lars", "Leila", "Lina", "Lucía", "Malik", "Maria", "Mei", "Mika", "Nadia", "Noah",
    "Nora", "Olga", "Omar", "Priya", "Rafael", "Rosa", "Sara", "Søren", "Tariq", "Tomás", "Uma", "Vera",
    "Yara", "Zoë",
];

pub(super) const LAST_NAMES: &[&str] = &[
    "Abe",
    "Ahmed",
    "Andersen",
    "Baker",
    "Becker",
    "Brown",
    "Castro",
    "Chowdhury",
    "Costa",
    "Dubois",
    "Eriksson",
    "Fischer",
    "Fofana",
    "García",
    "Haddad",
    "Hansen",
    "Ito",
    "Ivanova",
    "Jansen",
    "Kamau",
    "Kaya",
    "Keller",
    "Kim",
    "Kowalski",
    "Larsen",
    "Lee",
    "Lopez",
    "Mbeki",
    "Meyer",
    "Müller",
    "Nguyen",
    "Novák",
    "O'Brien",
    "Okafor",
    "Patel",
    "Pereira",
    "Petrov",
    "Rossi",
    "Sato",
    "Schmidt",
    "Silva",
    "Singh",
    "Smith",
    "Tanaka",
    "Torres",
    "Wang",
    "Weber",
    "Williams",
    "Yilmaz",
    "Zhang",
];

pub(super) const COUNTRIES: &[&str] = &[
    "US", "US", "US", "US", "CA", "MX", "BR", "GB", "DE", "DE", "FR", "ES", "IT", "NL", "SE", "PL", "IN",
    "JP", "AU", "NG",
];

pub(super) const LANGUAGES: &[&str] = &["en", "en", "en", "es", "pt", "de", "fr", "it", "ja", "sv"];

/// The departments, and under each its categories.
pub(super) const DEPARTMENTS: &[(&str, &[&str])] = &[
    ("Kitchen", &["Knives", "Pans", "Kettles", "Storage"]),
    ("Garden", &["Tools", "Seeds", "Furniture", "Lighting"]),
    ("Sport", &["Running", "Cycling", "Climbing", "Swimming"]),
    ("Office", &["Desks", "Chairs", "Paper", "Pens"]),
    ("Audio", &["Headphones", "Speakers", "Microphones", "Cables"]),
    ("Toys", &["Puzzles", "Building sets", "Board games", "Dolls"]),
    ("Clothing", &["Shirts", "Jackets", "Shoes", "Hats"]),
    ("Travel", &["Backpacks", "Suitcases", "Tents", "Bottles"]),
];

pub(super) const ADJECTIVES: &[&str] = &[
    "Compact",
    "Classic",
    "Folding",
    "Light",
    "Heavy-duty",
    "Quiet",
    "Bright",
    "Everyday",
    "Professional",
    "Small",
    "Large",
    "Soft",
    "Sturdy",
    "Waterproof",
    "Wireless",
    "Vintage",
];

pub(super) const MATERIALS: &[&str] = &[
    "steel",
    "oak",
    "bamboo",
    "cotton",
    "wool",
    "glass",
    "aluminium",
    "leather",
    "cork",
    "nylon",
];

pub(super) const COLOURS: &[&str] = &[
    "black", "white", "red", "green", "blue", "grey", "yellow", "natural",
];

pub(super) const WAREHOUSES: &[&str] = &["ORD-1", "EWR-2", "DFW-1", "SEA-3"];

pub(super) const CARRIERS: &[&str] = &["UPS", "FedEx", "DHL", "USPS", "DPD"];

pub(super) const NOTES: &[&str] = &[
    "Leave at the door, please.",
    "It's a gift: no invoice in the box.",
    "Call before delivery.",
    "Second floor, ring twice.",
    "Deliver after 17:00.",
];

pub(super) const PRAISE: &[&str] = &[
    "Just what I needed",
    "Very good",
    "Great value",
    "Would buy again",
    "Better than expected",
];

pub(super) const BLAME: &[&str] = &[
    "Not for me",
    "Came damaged",
    "Smaller than I thought",
    "Broke after a week",
];

pub(super) const BODIES: &[&str] = &[
    "Arrived on time and well packed.",
    "I use it every day; no complaints so far.",
    "The colour differs a little from the picture.",
    "My old one lasted ten years, let's see about this.",
    "Support answered within the hour.",
];
