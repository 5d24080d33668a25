"""One module a stage; stages never import each other, they meet in artifacts/."""
