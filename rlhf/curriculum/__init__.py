"""SFT stages one after the other: their settings, their rows, what each gained and forgot."""
