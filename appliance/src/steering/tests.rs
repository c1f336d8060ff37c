//! The plan for a configuration, and the table over memory that nobody else sees.
