"""What `hrnn delete-users` is made of: `users` reads whom, `places` finds where, `folders` and `lists` scan and rewrite."""
