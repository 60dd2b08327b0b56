"""What the distillation branches mask, and what each branch answers: the paper's Fig. 3 for any picture."""
