"""Files: headers, opening and publishing, whole copies, conversion, and changes to them."""
