"""What a check looks like elsewhere: Markdown, GitHub's workflow commands, JUnit XML."""
