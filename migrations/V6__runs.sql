-- What `run` was told to take over and did not.

alter table progress
    -- Why the rules in force are not those of the settings; null where they are.
    add column rules_error text;
