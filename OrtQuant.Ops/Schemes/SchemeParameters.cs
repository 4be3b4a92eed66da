namespace OrtQuant.Schemes;

/// <summary>
/// The choices that a scheme leaves open (bits, group size, ...), as an immutable value with structural equality. Each
/// scheme derives its own record; <see cref="IWeightScheme.Parse"/> and <see cref="IWeightScheme.ToJson"/> give its JSON form.
/// </summary>
public abstract record SchemeParameters;
