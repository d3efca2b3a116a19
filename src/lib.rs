//! flowhook
