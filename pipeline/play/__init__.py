"""A page on which people drag the object and watch the policy, or replay recorded motions."""
